"""The OpenAPI description holds for whatever is sent: every answer is one that it knows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.conftest import Site

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
hypothesis = pytest.importorskip("hypothesis")

_EXAMPLES = 12


@pytest.fixture(scope="session")
def api_schema(site: Site) -> Any:
    return schemathesis.openapi.from_dict(site.get("/openapi.json").json).configure(
        base_url=site.url
    )


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
