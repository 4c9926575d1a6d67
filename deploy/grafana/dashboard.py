"""The whole dashboard: its rows, and the variables at its top."""

from __future__ import annotations

import json

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from deploy.grafana.panels import BLUE, DATASOURCE
from deploy.grafana.promql import series
from deploy.grafana.rows import ROWS

_PERCENTILES = "50 % : 0.5, 90 % : 0.9, 95 % : 0.95, 99 % : 0.99, 99.9 % : 0.999"


def text() -> str:
    """Return the dashboard as JSON, always the same for the same code."""
    return json.dumps(_numbered(_build()), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"


def _build() -> model.Dashboard:
    whole = (
        dashboard.Dashboard("Prism")
        .uid("prism")
        .description("Prism: requests, backend operations, admission, and the process.")
        .tags(["prism", "grpc", "key-value"])
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .variables([_datasource(), _jobs(), _drivers(), _instances(), _percentile()])
        .annotation(_restarts())
    )
    for row in ROWS:
        whole.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            whole.with_panel(panel)
    return whole.build()


def _numbered(built: model.Dashboard) -> model.Dashboard:
    """Number the panels, because otherwise Grafana renumbers them at each import."""
    for number, panel in enumerate(built.panels or [], start=1):
        panel.id_val = number
    return built


def _datasource() -> dashboard.DatasourceVariable:
    return dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")


def _jobs() -> dashboard.QueryVariable:
    return _values("job", "Job", "label_values(prism_info, job)")


def _drivers() -> dashboard.QueryVariable:
    return _values("driver", "Driver", 'label_values(backend_driver_info{job=~"$job"}, driver)')


def _instances() -> dashboard.QueryVariable:
    # Few metrics have the label `driver`, so it filters the instances, which every query uses.
    served = 'backend_driver_info{job=~"$job", driver=~"$driver"}'
    return _values("instance", "Instance", f"label_values({served}, instance)")


def _values(name: str, label: str, query: str) -> dashboard.QueryVariable:
    all_values = model.VariableOption(selected=True, text=["All"], value=["$__all"])
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query({"query": query, "refId": name})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .current(all_values)
    )


def _percentile() -> dashboard.CustomVariable:
    default = model.VariableOption(selected=True, text="99 %", value="0.99")
    return (
        dashboard.CustomVariable("percentile")
        .label("Percentile")
        .values(_PERCENTILES)
        .current(default)
    )


def _restarts() -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name("Restarts")
        .datasource(DATASOURCE)
        .enable(True)
        .icon_color(BLUE)
        .expr(f"changes({series('process_start_time_seconds')}[2m]) > 0")
    )
