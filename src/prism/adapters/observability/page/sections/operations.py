"""Operations per second, and how long they took."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise

from prism.adapters.observability.page import texts
from prism.adapters.observability.page.history.operations import (
    KEPT,
    Counts,
    OperationSamples,
    Sample,
)
from prism.adapters.observability.page.values import Chart, Column, Section, Table
from prism.domain.tallies import OPERATION_BOUNDS_S

_WINDOW_SAMPLES = 30
_PERCENTS = (50, 90, 99)
_SHORTEST_SPAN_S = 1.0

_NOTE = (
    "Latencies are those at the backend, read off the buckets of the histogram in /metrics: "
    "“≤ 5 ms” means between the bound below and 5 ms. A batch is one operation."
)


def operations(samples: OperationSamples) -> Section:
    """Rates and latencies of the last minute, and totals."""
    kept, now = list(samples), samples.now()
    earlier = kept[-_WINDOW_SAMPLES:][0]
    elapsed_s = now.at_s - earlier.at_s
    table = Table(
        caption=f"Rates and latencies of the last {texts.duration(elapsed_s)}, "
        "totals since the start",
        columns=(
            ("Operation", Column.NAME),
            ("Per second", Column.NUMBER),
            *((f"p{percent}", Column.NUMBER) for percent in _PERCENTS),
            ("Failed", Column.NUMBER),
            ("Total", Column.NUMBER),
            ("Total failed", Column.NUMBER),
        ),
        rows=[
            _row(name, ever, ever.since(earlier.counts[name]), elapsed_s)
            for name, ever in now.counts.items()
            if ever.total
        ],
        empty="There were none since the start.",
    )
    return Section([*_chart([*kept, now]), table], _NOTE)


def percentile_s(counts: Counts, percent: float) -> float:
    """The upper bound of the bucket that it is in; infinite for the last one."""
    rank = max(1, math.ceil(counts.total * percent / 100))
    bucket = bisect_left(list(accumulate(counts.ended)), rank)
    return OPERATION_BOUNDS_S[bucket] if bucket < len(OPERATION_BOUNDS_S) else math.inf


def _row(name: str, ever: Counts, recent: Counts, elapsed_s: float) -> list[str]:
    return [
        name,
        texts.rate(recent.total / elapsed_s if elapsed_s else 0.0),
        *(_bound(recent, percent) for percent in _PERCENTS),
        f"{recent.failed:,}",
        f"{ever.total:,}",
        f"{ever.failed:,}",
    ]


def _bound(counts: Counts, percent: float) -> str:
    if not counts.total:
        return "-"
    bound_s = percentile_s(counts, percent)
    if bound_s == math.inf:
        return f"> {texts.latency(OPERATION_BOUNDS_S[-1])}"
    return f"≤ {texts.latency(bound_s)}"


def _chart(samples: Sequence[Sample]) -> list[Chart]:
    spans = [
        (then, now) for then, now in pairwise(samples) if now.at_s - then.at_s >= _SHORTEST_SPAN_S
    ][-KEPT:]
    rates = [(now.total - then.total) / (now.at_s - then.at_s) for then, now in spans]
    if not any(rates):
        return []
    highest = max(rates)
    length_s = spans[-1][1].at_s - spans[0][0].at_s
    summary = (
        f"Operations per second over the last {texts.duration(length_s)}: "
        f"{texts.rate(rates[-1])} at the end, {texts.rate(highest)} at the most"
    )
    return [Chart(summary, [each / highest for each in rates], KEPT)]
