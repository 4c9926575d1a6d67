"""The tables of a run: one for the terminal, and one for the documentation."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby

from tests.attack.registry import Place
from tests.attack.trial import Trial

HEAD = (
    "| attack | on | MiB before, peak, after | Get p99, longest | health "
    "| attacker saw | verdict | took |\n"
    "|---|---|---|---|---|---|---|---:|"
)

BLOCK = "attacks"
"""Name of the block that `make attack ARGS="--write FILE"` replaces."""


def row(trial: Trial) -> str:
    """Return one line of the table for the terminal."""
    sight = trial.sight
    return _line(
        trial.attack.name,
        f"{trial.place}, {trial.transport}" if trial.place is not Place.HTTP else trial.place,
        f"{trial.before_mib} → {trial.peak_mib} → {trial.after_mib}",
        f"{sight.p99_s * 1000:.0f}, {sight.longest_s * 1000:.0f} ms",
        f"{sight.longest_health_s * 1000:.0f} ms",
        trial.seen,
        _verdict(trial),
        f"{trial.took_s:.0f} s",
    )


def documentation(trials: Iterable[Trial], transports: Sequence[str]) -> str:
    """Return a table with one row for an attack on a place, and one column for a transport."""

    def attacked(trial: Trial) -> tuple[str, str]:
        return trial.place, trial.attack.name

    lines = [
        _line("on", "attack", *transports),
        _line(*["---"] * (2 + len(transports))),
    ]
    for (place, _), group in groupby(sorted(trials, key=attacked), attacked):
        seen = {trial.transport: trial for trial in group}
        summary = next(iter(seen.values())).attack.summary.rstrip(".")
        cells = [_cell(seen[each]) if each in seen else "the same" for each in transports]
        lines.append(_line(place, summary, *cells))
    today = datetime.now(UTC).date()
    versions = ", ".join(f"{each} {version(each)}" for each in transports)
    lines.append(f"\nMeasured on {today}: {versions}, Python {platform.python_version()}.")
    return "\n".join(lines)


def _cell(trial: Trial) -> str:
    measured = f"{trial.sight.p99_s * 1000:.0f} ms, {trial.peak_mib} MiB"
    return measured if not trial.broken else f"{measured}: **{_verdict(trial)}**"


def _verdict(trial: Trial) -> str:
    broken = "; ".join(trial.broken)
    if broken and trial.cannot:
        return f"cannot {trial.cannot}: {broken}"
    return broken or "holds"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
