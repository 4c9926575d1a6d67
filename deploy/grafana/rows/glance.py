"""Whether all is well."""

from __future__ import annotations

from deploy.grafana.panels import Query, Row, number, rows_of, timeline
from deploy.grafana.promql import REQUESTS, SERVER_ERRORS, quantile, rate, series, total

_FAILED = f'rpc_response_status_code=~"{SERVER_ERRORS}"'

# One series an instance: how long it is up, and as labels what it is.
_INSTANCES = f"""\
{series("prism_uptime_seconds")}
* on (job, instance) group_left (state) ({series("prism_lifecycle_state")} == 1)
* on (job, instance) group_left (driver) {series("backend_driver_info")}
* on (job, instance) group_left (version) {series("prism_info")}"""


def _or_zero(vector: str) -> str:
    """A series of errors begins with the first error."""
    return f"({vector} or vector(0))"


def _failed_share() -> str:
    failed = _or_zero(rate("rpc_server_errors_total", where=f"{REQUESTS}, {_FAILED}"))
    failed_in_streams = _or_zero(rate("rpc_server_stream_operation_errors_total", where=_FAILED))
    asked = rate("rpc_server_calls_total", where=REQUESTS)
    asked_in_streams = rate("rpc_server_stream_operations_total")
    return f"({failed} + {failed_in_streams})\n/ ({asked} + {asked_in_streams})"


ROW = Row(
    "At a glance",
    [
        number(
            "Do not answer",
            "Instances that Prometheus cannot scrape.",
            # One that was down before the time shown is not among the instances to choose.
            Query(_or_zero('count(up{job=~"$job"} == 0)')),
            unit="short",
            worse_from=(1, 2),
        ),
        number(
            "Not ready",
            "Instances that answer, and that `/ready` says to send no work to.",
            Query(f"count({series('prism_ready')}) - {total('prism_ready')}"),
            unit="short",
            worse_from=(1, 2),
        ),
        number(
            "Operations",
            "What the backends are asked to do, by calls and in streams; a batch is one.",
            Query(rate("backend_driver_requests_total")),
            unit="ops",
            worse_from=None,
        ),
        number(
            "Requests that failed",
            "Share of the requests that ended with a status that is the server's to answer for: "
            f"{SERVER_ERRORS.replace('|', ', ')}.",
            Query(_failed_share()),
            unit="percentunit",
            worse_from=(0.01, 0.05),
        ),
        number(
            "99 % of operations within",
            "Time that the backend took, whichever way the operation came.",
            Query(quantile("0.99", "backend_driver_request_duration_seconds")),
            unit="s",
            worse_from=(0.1, 0.5),
        ),
        number(
            "Restarts",
            "Starts of a process under the same address, in the time that is shown.",
            Query(f"sum(changes({series('process_start_time_seconds')}[$__range]))"),
            unit="short",
            worse_from=(1, 3),
        ),
        timeline(
            "Readiness",
            "What `/ready` said: the driver runs, and its backend answers health checks.",
            Query(series("prism_ready"), "{{instance}}"),
            yes="ready",
            no="not ready",
        ),
        rows_of(
            "Instances",
            "Each process: the state of its driver, its version, and how long it is up.",
            Query(_INSTANCES),
            unit="s",
            columns={
                "job": "Job",
                "instance": "Instance",
                "driver": "Driver",
                "state": "State",
                "version": "Version",
                "Value": "Up for",
            },
        ),
    ],
)
