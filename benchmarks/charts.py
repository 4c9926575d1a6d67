"""Charts for the documentation, each from what a run has written as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pygal

from benchmarks.ink import drawn, plain, steps_between
from benchmarks.tables import in_words, ratios_of

_WIDTH = 1040
_HEIGHT_OF_A_ROW = 36
_MARGIN_ABOVE_AND_BELOW = 120
_ROOM = 0.7
"""The axis begins so far below the least, for the label of a point is below it."""


def throughput(fields: Mapping[str, Any]) -> str:
    """A bar for each ratio and one for its floor, to the right of 1 where Prism is faster."""
    # pygal begins below.
    rows = ratios_of(fields)[::-1]
    marked = [row[which] for row in rows for which in ("min", "max", "floor")]
    steps = steps_between(min(marked), max(marked))
    chart = drawn(
        pygal.HorizontalBar,
        title="Ratios: what is to the right of 1 is faster than what it is compared with",
        told="; ".join(
            f"{row['name']}: {in_words(row['median'])}, at least {plain(row['floor'])}"
            for row in rows[::-1]
        ),
        colours=("accent", "line"),
        width=_WIDTH,
        height=_MARGIN_ABOVE_AND_BELOW + _HEIGHT_OF_A_ROW * len(rows),
        logarithmic=True,
        zero=1,
        range=(steps[0], steps[-1]),
        y_labels=steps,
        value_formatter=plain,
        x_labels=[f"{row['name']} = {in_words(row['median'])}" for row in rows],
        truncate_label=-1,
        legend_at_bottom=True,
    )
    chart.add(
        "median of the rounds",
        [{"value": row["median"], "ci": {"low": row["min"], "high": row["max"]}} for row in rows],
    )
    chart.add("at least", [row["floor"] for row in rows])
    return str(chart.render())


def latency(fields: Mapping[str, Any]) -> str:
    """A curve for each server and percentile, with the calls a second beside its points."""
    servers = fields["series"]["latency"]["servers"]
    points = [point for server in servers for point in server["points"]]
    steps = steps_between(
        min(point["p50_us"] for point in points) / 1000 * _ROOM,
        max(point["p99_us"] for point in points) / 1000,
    )
    chart = drawn(
        pygal.XY,
        title="Latency against load, and how many calls a second that is",
        told="; ".join(
            f"{server['name']} with {point['in_flight']} in flight: {point['calls_s']:,.0f} "
            f"calls a second, p50 {_ms(point['p50_us'])}, p99 {_ms(point['p99_us'])}"
            for server in servers
            for point in server["points"]
        ),
        colours=("accent", "accent-2", "warm", "warm-2"),
        width=_WIDTH,
        height=560,
        logarithmic=True,
        x_title="calls in flight",
        y_title="ms until the answer",
        x_value_formatter=plain,
        value_formatter=plain,
        x_labels=sorted({point["in_flight"] for point in points}),
        y_labels=steps,
        range=(steps[0], steps[-1]),
        print_labels=True,
        margin_right=70,
        legend_at_bottom=True,
        legend_at_bottom_columns=4,
    )
    for server in servers:
        for percentile in ("p50", "p99"):
            chart.add(
                f"{server['name']}, {percentile}",
                [
                    {
                        "value": (point["in_flight"], point[f"{percentile}_us"] / 1000),
                        "label": f"{point['calls_s']:,.0f}/s" if percentile == "p50" else "",
                    }
                    for point in server["points"]
                ],
            )
    return str(chart.render())


def keys(fields: Mapping[str, Any]) -> str:
    """Gets of a server with so many keys, as a share of those with the fewest."""
    points = fields["series"]["keys"]["points"]
    fewest = points[0]
    chart = drawn(
        pygal.Bar,
        title=f"Random gets, relative to those of a server with {fewest['keys']:,} keys",
        told="; ".join(
            f"{point['keys']:,} keys: {point['ratio']:.2f}, "
            f"{point['gets_s']:,.0f} gets for a second of processor time"
            for point in points
        ),
        colours=("accent",),
        width=_WIDTH,
        height=360,
        range=(0, max(1.2, *(point["max"] for point in points))),
        x_labels=[f"{point['keys']:,} keys: {point['ratio']:.2f}" for point in points],
        value_formatter=plain,
        truncate_label=-1,
        show_legend=False,
    )
    chart.add(
        "gets",
        [
            {"value": point["ratio"], "ci": {"low": point["min"], "high": point["max"]}}
            for point in points
        ],
    )
    return str(chart.render())


CHARTS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "bench-throughput.svg": throughput,
    "bench-latency.svg": latency,
    "bench-keys.svg": keys,
}


def _ms(us: float) -> str:
    return f"{us / 1000:.2f} ms"
