"""The kinds of panels, each with the options that all of its kind share.

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
    """Expression, with the names of its lines."""

    expr: str
    legend: str = ""


class Row(NamedTuple):
    """Panels under one heading."""

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
    """Return a panel with lines over time, the largest first in the legend.

    Args:
        unit: unit by its name in Grafana: `reqps`, `s`, `bytes`, `short`…
        width: columns of 24.
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
    title: str,
    description: str,
    metric: Query,
    *,
    unit: str,
    worse_from: tuple[float, float] | None,
) -> stat.Panel:
    """Return a panel with the current number, in front of its graph.

    Args:
        worse_from: values from which it is orange and red; None: no value is bad.
    """
    panel = (
        _named(stat.Panel(), title, description, unit, 4)
        .height(4)
        .graph_mode(common.BigValueGraphMode.AREA)
        .color_mode(common.BigValueColorMode.VALUE)
        .reduce_options(options.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_target(metric, 0).range())
    )
    return panel.thresholds(_steps(worse_from))


def timeline(
    title: str, description: str, metric: Query, *, yes: str, no: str
) -> statetimeline.Panel:
    """Return a panel with a condition over time: 1 is green, 0 is red."""
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
        .with_target(_target(metric, 0).range())
    )


def table_of(
    title: str, description: str, metric: Query, *, unit: str, columns: dict[str, str]
) -> table.Panel:
    """Return a table of the current series.

    Args:
        unit: unit of the values.
        columns: headings by label, in order; `Value` is the value.
    """
    arranged = {
        "excludeByName": {"Time": True},
        "indexByName": {name: index for index, name in enumerate(columns)},
        "renameByName": columns,
    }
    target = _target(metric, 0).instant().format(prometheus.PromQueryFormat.TABLE)
    return (
        _named(table.Panel(), title, description, unit, 12)
        .with_target(target)
        .with_transformation(model.DataTransformerConfig(id_val="organize", options=arranged))
    )


def heat(title: str, description: str, metric: Query, *, unit: str) -> heatmap.Panel:
    """Return a panel with the buckets of a histogram over time."""
    target = _target(metric, 0).range().format(prometheus.PromQueryFormat.HEATMAP)
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


def _target(metric: Query, number: int) -> query.Dataquery:
    ref = chr(ord("A") + number)
    return query.Dataquery().ref_id(ref).expr(metric.expr).legend_format(metric.legend)


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
