"""The OpenAPI description holds for whatever is sent: every answer is one that it knows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.conftest import Site

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
hypothesis = pytest.importorskip("hypothesis")

_EXAMPLES = 8
_CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
]


@pytest.fixture(scope="session")
def api_schema(site: Site) -> Any:
    found = schemathesis.openapi.from_dict(site.get("/openapi.json").json)
    found.config.update(base_url=site.url)
    return found


def test_predict_is_described(site: Site) -> None:
    told = site.get("/openapi.json").json
    predict = told["paths"]["/api/predict"]["post"]
    assert set(predict["responses"]) == {
        *("200", "400", "401", "403", "408", "413", "415", "422", "429"),
    }
    assert "application/pdf" in predict["requestBody"]["content"]
    assert told["components"]["schemas"]["Refusal"]["required"] == ["code", "message", "hint"]
    for path, methods in told["paths"].items():
        for method in methods.values():
            for status, answer in method["responses"].items():
                if status.startswith("4"):
                    shape = answer["content"]["application/json"]["schema"]
                    assert shape == {"$ref": "#/components/schemas/Refusal"}, path


def test_every_answer_is_described(api_schema: Any) -> None:
    """Schemathesis makes up requests, those that are meant and others."""
    checks = schemathesis.checks.CHECKS.get_by_names(_CHECKS)
    labels = []
    for found in api_schema.get_all_operations():
        operation = found.ok()
        labels.append(operation.label)
        for mode in schemathesis.GenerationMode:
            if mode is not schemathesis.GenerationMode.POSITIVE and not _takes_any(operation):
                continue  # there is nothing to get wrong

            @hypothesis.settings(max_examples=_EXAMPLES, deadline=None, database=None)
            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            def all_are_described(case: Any) -> None:
                case.call_and_validate(checks=checks)

            all_are_described()
    assert "POST /api/predict" in labels
    assert len(labels) > 10


def _takes_any(operation: Any) -> bool:
    return bool([*operation.iter_parameters(), *operation.body])
