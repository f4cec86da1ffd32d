"""Figures of an evaluation as people read them."""

from __future__ import annotations

import math


def figure(value: float, low: float, high: float) -> str:
    """Three digits, and the interval where there is one.

    >>> figure(0.8384, 0.8121, 0.8622), figure(0.5, math.nan, math.nan), figure(math.nan, 0, 0)
    ('0.838 (0.812–0.862)', '0.500', '')
    """
    if not math.isfinite(value):
        return ""
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{value:.3f}"
    return f"{value:.3f} ({low:.3f}–{high:.3f})"  # noqa: RUF001  # an en dash is meant


def difference(value: float, low: float, high: float) -> str:
    """With its sign, and "to" between bounds that may be negative.

    >>> difference(0.02, -0.01, 0.05)
    '+0.020 (-0.010 to +0.050)'
    """
    if not math.isfinite(value):
        return ""
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{value:+.3f}"
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def percent(value: float, low: float, high: float) -> str:
    """One digit after the point.

    >>> percent(0.441, math.nan, math.nan), percent(0.669, 0.6, 0.7)
    ('44.1 %', '66.9 % (60.0–70.0)')
    """
    if not math.isfinite(value):
        return ""
    text = f"{100 * value:.1f} %"
    if not (math.isfinite(low) and math.isfinite(high)):
        return text
    return f"{text} ({100 * low:.1f}–{100 * high:.1f})"  # noqa: RUF001


def p_value(p: float) -> str:
    """Not smaller than can be believed.

    >>> p_value(0.04321), p_value(0.0000004), p_value(0.2), p_value(math.nan)
    ('0.043', '<0.001', '0.20', '')
    """
    if not math.isfinite(p):
        return ""
    if p < 0.001:
        return "<0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def threshold(probability: float) -> str:
    """A probability at or over which a score is called positive.

    >>> threshold(0.12345), threshold(1.0), threshold(0.00001)
    ('0.123', '1.000', '1.0e-05')
    """
    if not math.isfinite(probability):
        return ""
    return f"{probability:.3f}" if probability >= 0.0005 else f"{probability:.1e}"
