"""The kinds of panels, each with what all of its kind have in common.

https://grafana.github.io/grafana-foundation-sdk/
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import common as options
from grafana_foundation_sdk.builders import (
    dashboard,
    heatmap,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import prometheus as query
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common, prometheus
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode

DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

GREEN, ORANGE, RED, BLUE = "green", "orange", "red", "blue"

_HEIGHT = 8

Panel = Builder[model.Panel]


class Query(NamedTuple):
    """An expression, and what its lines are called."""

    expr: str
    legend: str = ""


class Row(NamedTuple):
    """Panels under a heading of their own."""

    title: str
    panels: list[Panel]


class _Panel(Protocol):
    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def datasource(self, datasource: model.DataSourceRef) -> Self: ...
    def unit(self, unit: str) -> Self: ...
    def span(self, w: int) -> Self: ...
    def height(self, h: int) -> Self: ...


Kind = TypeVar("Kind", bound=_Panel)


def graph(
    title: str, description: str, *queries: Query, unit: str, width: int = 12
) -> timeseries.Panel:
    """Lines over time, the largest first in the legend.

    Args:
        unit: as Grafana names it: `reqps`, `s`, `bytes`, `short`…
        width: of 24.
    """
    panel = (
        _named(timeseries.Panel(), title, description, unit, width)
        .min(0)
        .line_width(1)
        .fill_opacity(8)
        .show_points(common.VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(
            options.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
            .hide_zeros(True)
        )
    )
    for number, each in enumerate(queries):
        panel.with_target(_target(each, number).range())
    return panel


def number(
    title: str, description: str, asked: Query, *, unit: str, worse_from: tuple[float, float] | None
) -> stat.Panel:
    """The number of now, and its course behind it.

    Args:
        worse_from: where it turns orange, and red; None: no number of it is bad.
    """
    panel = (
        _named(stat.Panel(), title, description, unit, 4)
        .height(4)
        .graph_mode(common.BigValueGraphMode.AREA)
        .color_mode(common.BigValueColorMode.VALUE)
        .reduce_options(options.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_target(asked, 0).range())
    )
    return panel.thresholds(_steps(worse_from))


def timeline(
    title: str, description: str, asked: Query, *, yes: str, no: str
) -> statetimeline.Panel:
    """Whether something held, over time: 1 is green, and 0 red."""
    meanings: dict[str, model.ValueMappingResult] = {
        "1": model.ValueMappingResult(text=yes, color=GREEN),
        "0": model.ValueMappingResult(text=no, color=RED),
    }
    return (
        _named(statetimeline.Panel(), title, description, "short", 12)
        .mappings([model.ValueMap(options=meanings)])
        .show_value(common.VisibilityMode.NEVER)
        .merge_values(True)
        .legend(options.VizLegendOptions().show_legend(False))
        .with_target(_target(asked, 0).range())
    )


def rows_of(
    title: str, description: str, asked: Query, *, unit: str, columns: dict[str, str]
) -> table.Panel:
    """A table of the series of now.

    Args:
        unit: of the values.
        columns: labels, in order, and their headings; `Value` is the value.
    """
    arranged = {
        "excludeByName": {"Time": True},
        "indexByName": {name: place for place, name in enumerate(columns)},
        "renameByName": columns,
    }
    target = _target(asked, 0).instant().format(prometheus.PromQueryFormat.TABLE)
    return (
        _named(table.Panel(), title, description, unit, 12)
        .with_target(target)
        .with_transformation(model.DataTransformerConfig(id_val="organize", options=arranged))
    )


def heat(title: str, description: str, asked: Query, *, unit: str) -> heatmap.Panel:
    """How a histogram's buckets fill over time."""
    target = _target(asked, 0).range().format(prometheus.PromQueryFormat.HEATMAP)
    colours = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(64)
    return (
        _named(heatmap.Panel(), title, description, unit, 12)
        .color(colours)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .hide_y_histogram()
        .show_legend()
        .with_target(target)
    )


def _named(panel: Kind, title: str, description: str, unit: str, width: int) -> Kind:
    named = panel.title(title).description(description).datasource(DATASOURCE)
    return named.unit(unit).span(width).height(_HEIGHT)


def _target(asked: Query, number: int) -> query.Dataquery:
    ref = chr(ord("A") + number)
    return query.Dataquery().ref_id(ref).expr(asked.expr).legend_format(asked.legend)


def _legend() -> options.VizLegendOptions:
    return (
        options.VizLegendOptions()
        .show_legend(True)
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "max"])
        .sort_by("Max")
        .sort_desc(True)
    )


def _steps(worse_from: tuple[float, float] | None) -> dashboard.ThresholdsConfig:
    if worse_from is None:
        return dashboard.ThresholdsConfig().steps([model.Threshold(color=BLUE)])
    bad, worst = worse_from
    steps = [
        model.Threshold(color=GREEN),
        model.Threshold(value=bad, color=ORANGE),
        model.Threshold(value=worst, color=RED),
    ]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)
