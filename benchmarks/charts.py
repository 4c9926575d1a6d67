"""Charts of a run for the documentation, as SVG for light and dark pages.

https://www.pygal.org/en/stable/documentation/configuration/index.html
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pygal
from pygal.style import Style

# pygal's plugin finder makes Python 3.11 warn at each import that fails.
sys.meta_path[:] = [
    finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)
]

Json = Mapping[str, Any]

_WIDTH = 1040
_ROW_HEIGHT = 36
_MARGINS_HEIGHT = 120

_LABEL_ROOM = 0.7
"""The axis begins this far below the least figure, to leave room for its label."""

_COLOURS = """
svg { --paper: #fff; --ink: #1c2333; --soft: #5d677b; --line: #c3cad6;
      --accent: #4256c9; --accent-2: #97a6ff; --warm: #b4541a; --warm-2: #e9a777; }
@media (prefers-color-scheme: dark) {
  svg { --paper: #161a22; --ink: #e8ebf2; --soft: #9ba6b9; --line: #414b5d;
        --accent: #97a6ff; --accent-2: #5566c4; --warm: #f0a26b; --warm-2: #a3653a; }
}
.graph > .background { rx: 14px; }
.title { font-weight: 600; }
"""


def throughput(run: Json) -> str:
    """Return a chart with a bar for each ratio and a bar for its floor."""
    # pygal draws the first row at the bottom.
    rows = [row for row in run["rows"] if not row["less_is_better"]][::-1]
    marked = [row[which] for row in rows for which in ("min", "max", "floor")]
    steps = axis_steps(min(marked), max(marked))
    chart = _chart(
        pygal.HorizontalBar,
        title="Speed of Prism, relative to the alternative: right of 1 Prism is faster",
        description="; ".join(
            f"{row['what']}: {_ratio(row)}, at least {_plain(row['floor'])}" for row in rows[::-1]
        ),
        colours=("accent", "line"),
        width=_WIDTH,
        height=_MARGINS_HEIGHT + _ROW_HEIGHT * len(rows),
        logarithmic=True,
        zero=1,
        range=(steps[0], steps[-1]),
        y_labels=steps,
        value_formatter=_plain,
        x_labels=[f"{row['what']}: {_ratio(row)}" for row in rows],
        truncate_label=-1,
        legend_at_bottom=True,
    )
    chart.add(
        "median of the rounds",
        [{"value": row["median"], "ci": {"low": row["min"], "high": row["max"]}} for row in rows],
    )
    chart.add("at least", [row["floor"] for row in rows])
    return str(chart.render())


def latency(run: Json) -> str:
    """Return a chart with a curve for each server and percentile, and the calls per second."""
    servers = run["series"]["latency"]["servers"]
    points = [point for server in servers for point in server["points"]]
    steps = axis_steps(
        min(point["p50_us"] for point in points) / 1000 * _LABEL_ROOM,
        max(point["p99_us"] for point in points) / 1000,
    )
    chart = _chart(
        pygal.XY,
        title="Latency against load, with calls per second",
        description="; ".join(
            f"{server['name']} with {point['in_flight']} in flight: {point['calls_s']:,.0f} "
            f"calls per second, p50 {_ms(point['p50_us'])}, p99 {_ms(point['p99_us'])}"
            for server in servers
            for point in server["points"]
        ),
        colours=("accent", "accent-2", "warm", "warm-2"),
        width=_WIDTH,
        height=560,
        logarithmic=True,
        x_title="calls in flight",
        y_title="latency in ms",
        x_value_formatter=_plain,
        value_formatter=_plain,
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


def keys(run: Json) -> str:
    """Return a chart of gets per second against the number of keys, relative to the fewest."""
    points = run["series"]["keys"]["points"]
    fewest = points[0]
    chart = _chart(
        pygal.Bar,
        title=f"Gets of random keys, relative to a server with {fewest['keys']:,} keys",
        description="; ".join(
            f"{point['keys']:,} keys: {point['ratio']:.2f}, "
            f"{point['gets_s']:,.0f} gets per second of processor time"
            for point in points
        ),
        colours=("accent",),
        width=_WIDTH,
        height=360,
        range=(0, max(1.2, *(point["max"] for point in points))),
        x_labels=[f"{point['keys']:,} keys: {point['ratio']:.2f}" for point in points],
        value_formatter=_plain,
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


CHARTS: Mapping[str, Callable[[Json], str]] = {
    "bench-throughput.svg": throughput,
    "bench-latency.svg": latency,
    "bench-keys.svg": keys,
}


def axis_steps(least: float, most: float) -> list[float]:
    """Return the steps 1, 2, 5, 10, … of an axis that includes both figures and 1."""
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    steps = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    first = max(step for step in steps if step <= min(least, 1))
    last = min(step for step in steps if step >= max(most, 1))
    return [step for step in steps if first <= step <= last]


def _ratio(row: Json) -> str:
    median = row["median"]
    digits = 0 if median >= 100 else 1 if median >= 10 else 2
    return f"{median:,.{digits}f} × {row['compared_with']}"


def _plain(figure: float) -> str:
    return f"{figure:,g}"


def _ms(us: float) -> str:
    return f"{us / 1000:.2f} ms"


def _chart(
    kind: type[Any], *, title: str, description: str, colours: tuple[str, ...], **options: Any
) -> Any:
    """Return a pygal chart without series, styled for the documentation.

    Args:
        kind: class of the chart.
        title: title of the chart.
        description: text alternative, for readers who cannot see the picture.
        colours: names of the colours of the series.
        options: further options of pygal.
    """
    variables = tuple(f"var(--{colour})" for colour in colours)
    chart = kind(
        title=title,
        style=Style(
            background="var(--paper)", plot_background="var(--paper)",
            foreground="var(--soft)", foreground_strong="var(--ink)",
            foreground_subtle="var(--line)",
            guide_stroke_color="var(--line)", major_guide_stroke_color="var(--line)",
            font_family='system-ui, -apple-system, "Segoe UI", Roboto, sans-serif',
            label_font_size=12, major_label_font_size=12, value_font_size=12,
            value_label_font_size=11, legend_font_size=13, title_font_size=16,
            opacity="1", stroke_opacity="1", stroke_width="2",
            colors=variables, value_colors=("var(--ink)",) * len(variables),
        ),
        js=[], disable_xml_declaration=True, **options,
    )  # fmt: skip
    # pygal's own is random, and the same chart would be a different file each time.
    chart.uuid = "bench"
    chart.add_xml_filter(lambda root: _for_a_page(root, description))
    return chart


def _for_a_page(root: Any, description: str) -> Any:
    """Remove scripts, what only scripts show, and the comment with the date; add a description."""
    for parent in list(root.iter()):
        for child in list(parent):
            if not isinstance(child.tag, str) or child.tag in ("script", "desc"):
                parent.remove(child)
    root.set("role", "img")
    title = root.find("title")
    for tag, text in (("style", _COLOURS), ("desc", description)):
        element = title.makeelement(tag, {})
        element.text = text
        root.insert(list(root).index(title) + 1, element)
    return root
