"""Texts for people: durations, rates, times, and untrusted text on one line."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS_S = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_ESCAPES = {code: repr(chr(code))[1:-1] for code in (*range(0x20), 0x7F, *range(0x80, 0xA0))}


def escaped(text: str) -> str:
    """Escape control characters, so that untrusted text stays on one line of a terminal or log."""
    return text.translate(_ESCAPES)


def duration(seconds: float) -> str:
    """`8 s`, `3 min 20 s`, `2 d 4 h`: the two largest units."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in _UNITS_S:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 ")) or "0 s"


def latency(seconds: float) -> str:
    """`5 ms`, `2.5 s`."""
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def rate(per_second: float) -> str:
    """`0`, `7.5`, `1,234`: one decimal below 100."""
    return f"{per_second:,.1f}" if 0 < per_second < 100 else f"{per_second:,.0f}"


def moment(at: float, now: float) -> str:
    """`12:30:05 (8 s ago)`: UTC, with the date if it is not today's.

    Args:
        at: Unix time.
        now: Unix time.
    """
    then, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC).date()
    form = "%H:%M:%S" if then.date() == today else "%Y-%m-%d %H:%M:%S"
    return f"{then.strftime(form)} ({duration(max(now - at, 0.0))} ago)"
