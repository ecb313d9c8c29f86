"""Differences between scores as a reader meets them: in points of a hundred."""

from math import isnan


def points(value: float, *, sign: bool = True) -> str:
    """Write a score difference in points of a hundred, as in "+1.2"."""
    if isnan(value):
        return "unknown"
    text = f"{value * 100:{'+' if sign else ''}.1f}"
    if float(text) == 0:
        text = "0.0"
    return text.replace("-", "\N{MINUS SIGN}")


def bounds(low: float, high: float) -> str:
    """Write an interval in points of a hundred, as in "[0.1, 2.3]"."""
    if isnan(low) or isnan(high):
        return "[interval unknown: one value]"
    if low == high:
        # All pairs differ by the same amount, as when nobody refuses: nothing to draw an interval from.
        return "[no spread]"
    return f"[{points(low, sign=False)}, {points(high, sign=False)}]"
