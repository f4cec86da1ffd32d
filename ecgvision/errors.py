"""Every error the toolkit raises on purpose, each with a reason code for manifests and JSON."""

from __future__ import annotations

from pathlib import Path


class EcgVisionError(Exception):
    """Base of all errors raised on purpose; `code` is stable and meant for machines."""

    code = "error"


class UsageError(EcgVisionError):
    """The caller asked for something that does not exist or cannot be: exit code 2."""

    code = "usage"


class LayoutError(EcgVisionError, ValueError):
    """A layout's numbers contradict each other or cannot be read."""

    code = "layout-impossible"


class PluginError(EcgVisionError):
    """A plugin could not be loaded or broke its promise."""

    code = "plugin-broken"


class PageError(EcgVisionError):
    """A file or page cannot be used.

    The message names the file, the page, what was expected, what was found and what to try.
    """

    def __init__(
        self,
        code: str,
        source: Path | str,
        page: int | None,
        *,
        expected: str,
        found: str,
        hint: str,
    ) -> None:
        self.code = code
        self.source = Path(source)
        self.page = page
        self.expected, self.found, self.hint = expected, found, hint
        where = self.source.name + (f" page {page}" if page else "")
        super().__init__(f"{where}: expected {expected}, found {found}; {hint} [{code}]")

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel between worker processes; the default only passes the message on.
        # Only what was said of the page: libraries hang objects of their own on errors.
        said = {name: str(getattr(self, name)) for name in ("expected", "found", "hint")}
        return _rebuilt, (type(self), self.code, self.source, self.page, said)


class UnreadableError(PageError):
    """The file or page cannot be opened or decoded."""


class NoMatchError(PageError):
    """The page is not one of the format asked for, or of no format, or of two."""


def _rebuilt(
    kind: type[PageError], code: str, source: Path, page: int | None, rest: dict[str, str]
) -> PageError:
    return kind(
        code, source, page, expected=rest["expected"], found=rest["found"], hint=rest["hint"]
    )
