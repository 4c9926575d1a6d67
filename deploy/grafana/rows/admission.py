"""What is let in and what is not, and the watches that stand."""

from __future__ import annotations

from deploy.grafana.panels import Query, Row, graph
from deploy.grafana.promql import rate, total

_WATCH = 'rpc_method=~".*KeyValueService/Watch"'

ADMISSION = Row(
    "Admission",
    [
        graph(
            "Operations in flight",
            "Let in and not ended; at the limit (`--max-in-flight`) the next are shed.",
            Query(total("prism_operations_in_flight", "instance"), "{{instance}}"),
            Query(total("prism_operations_in_flight_limit", "instance"), "{{instance}} limit"),
            unit="short",
            width=8,
        ),
        graph(
            "Shed",
            "One too many for a limit: answered with RESOURCE_EXHAUSTED, and not done.",
            Query(rate("prism_operations_shed_total", "instance"), "{{instance}}"),
            unit="ops",
            width=8,
        ),
        graph(
            "Refused",
            "Came while the driver was not running, as before the start or while it drains.",
            Query(rate("prism_operations_refused_total", "instance"), "{{instance}}"),
            unit="ops",
            width=8,
        ),
    ],
)

WATCHES = Row(
    "Watches",
    [
        graph(
            "Watches that stand",
            "At the limit (`--max-watches`) the next are refused.",
            Query(
                total("backend_driver_watches_active", "instance, driver"),
                "{{driver}} {{instance}}",
            ),
            Query(
                total("backend_driver_watches_limit", "instance, driver"),
                "{{driver}} {{instance}} limit",
            ),
            unit="short",
            width=8,
        ),
        graph(
            "Watches begun",
            "Many for as many that stand: clients whose watches end and who begin again.",
            Query(rate("rpc_server_calls_total", "instance", _WATCH), "{{instance}}"),
            unit="reqps",
            width=8,
        ),
        graph(
            "Watches that ended, by status code",
            "CANCELLED is the client's own end. ABORTED: it read too slowly, or the backend's "
            "side of it broke; UNAVAILABLE: this server drains.",
            Query(
                rate("rpc_server_errors_total", "rpc_response_status_code", _WATCH),
                "{{rpc_response_status_code}}",
            ),
            unit="reqps",
            width=8,
        ),
    ],
)
