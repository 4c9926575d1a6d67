"""Numbers and times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS_S = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


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
    """With a decimal where it matters."""
    return f"{per_second:,.1f}" if 0 < per_second < 100 else f"{per_second:,.0f}"


def moment(at: float, now: float) -> str:
    """A Unix time in UTC, and how long ago it was; with its date unless it is today's."""
    then, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC).date()
    form = "%H:%M:%S" if then.date() == today else "%Y-%m-%d %H:%M:%S"
    return f"{then.strftime(form)} ({duration(max(now - at, 0.0))} ago)"
