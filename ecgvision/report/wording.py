"""Numbers as people read them."""

from __future__ import annotations


def number(value: int) -> str:
    return f"{value:,}"


def share(part: int, whole: int) -> str:
    """A part in percent; a few of many are not called none, nor all but a few all.

    >>> share(1, 3), share(1, 100_000), share(99_999, 100_000), share(0, 0)
    ('33.3 %', '<0.1 %', '>99.9 %', '')
    """
    if not whole:
        return ""
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.1f} %" if part % whole else f"{percent:.0f} %"


def duration(seconds: float) -> str:
    """The two largest units.

    >>> duration(0.0312), duration(75), duration(3720), duration(200_000)
    ('0.031 s', '1 min 15 s', '1 h 2 min', '2 d 7 h')
    """
    if seconds < 59.5:
        return f"{seconds:#.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours // 24:,} d {hours % 24} h"


def rate(pages_per_s: float) -> str:
    """Three digits.

    >>> rate(12.34), rate(0.004), rate(0)
    ('12.3', '0.004', '0')
    """
    return f"{pages_per_s:,.0f}" if pages_per_s >= 100 else f"{pages_per_s:.3g}"


def size(n_bytes: float) -> str:
    """In units of 1000.

    >>> size(512), size(3_400_000)
    ('512 bytes', '3.4 MB')
    """
    if n_bytes < 1000:
        return f"{n_bytes:.0f} bytes"
    power = next((k for k in (1, 2, 3) if n_bytes < 999.5 * 1000**k), 4)
    return f"{n_bytes / 1000**power:,.3g} {('kB', 'MB', 'GB', 'TB')[power - 1]}"
