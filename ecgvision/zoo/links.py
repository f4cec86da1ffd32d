"""Where a text in Markdown leads: the addresses of its links and pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser

from markdown_it import MarkdownIt
from markdown_it.token import Token

_WEB = re.compile(r"https?://|mailto:", re.IGNORECASE)


class _Reader(MarkdownIt):
    """Gives addresses as they are written, also those that it would rather not make a link of."""

    def validateLink(self, url: str) -> bool:  # noqa: N802
        return True

    def normalizeLink(self, url: str) -> str:  # noqa: N802
        return url


class _Tags(HTMLParser):
    """The addresses in a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src", "poster"):
                self.found.append((value or "").strip())
            elif name == "srcset":
                # Addresses with a width each: "a.png 1x, b.png 2x".
                self.found += [one.split()[0] for one in (value or "").split(",") if one.strip()]


def local_links(text: str) -> tuple[str, ...]:
    """What links and pictures of the text lead to that is neither on the web nor in the text.

    Markdown and the HTML in it count, code does not. Of an address with `#...` the part before.

    >>> local_links("![Plot](plot.png) [here](#top) [there](https://example.org) `[no](none.md)`")
    ('plot.png',)
    """
    tokens = _Reader("commonmark").enable("table").parse(text)
    found = (
        one.partition("#")[0]
        for one in _addresses(tokens)
        if not one.startswith("#") and not _WEB.match(one)
    )
    return tuple(dict.fromkeys(found))


def _addresses(tokens: Iterable[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type in ("html_block", "html_inline"):
            yield from _Tags(token.content).found
        for name in ("href", "src"):
            if name in token.attrs:
                yield str(token.attrs[name])
        if token.type != "image":  # of a picture these are its description, no links any more
            yield from _addresses(token.children or ())
