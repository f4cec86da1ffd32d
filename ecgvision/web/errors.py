"""What the server refuses, as one JSON object: a code, a message, and what to do."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, Field


class Refusal(BaseModel):
    """Why a request was refused: `code` is stable and meant for programs."""

    code: str = Field(examples=["file-type-unknown"])
    message: str
    hint: str


class WebError(Exception):
    """A request that ends in a refusal of this HTTP status."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        hint: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.hint = status, code, message, hint
        self.headers = dict(headers or {})

    @property
    def refusal(self) -> Refusal:
        return Refusal(code=self.code, message=self.message, hint=self.hint)


def unknown_report() -> WebError:
    return WebError(
        404,
        "report-unknown",
        "there is no such report: it was removed, or its 10 minutes are over",
        "send the file again",
    )


def busy() -> WebError:
    return WebError(
        429,
        "queue-full",
        "too many reports are waiting",
        "try again in a few seconds",
        {"Retry-After": "5"},
    )
