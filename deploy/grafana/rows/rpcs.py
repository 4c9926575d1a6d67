"""What callers ask for, and how it ends."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as model

from deploy.grafana.panels import Query, Row, graph, heat
from deploy.grafana.promql import REQUESTS, increase, quantile, rate, total

_DURATION = "rpc_server_call_duration_seconds"

# Legends have room for `Get`, and not for its package and service.
_SHORT = model.DataTransformerConfig(
    id_val="renameByRegex",
    options={"regex": r"prism\.v1\.(?:KeyValueService/)?(.*)", "renamePattern": "$1"},
)

ROW = Row(
    "Requests by gRPC",
    [
        graph(
            "Calls",
            "Calls that arrived, by method. `Operate` is a stream of operations, counted beside.",
            Query(rate("rpc_server_calls_total", "rpc_method"), "{{rpc_method}}"),
            unit="reqps",
        ).with_transformation(_SHORT),
        graph(
            "Operations in streams",
            "Operations that arrived in `Operate`, by the method of the same effect.",
            Query(rate("rpc_server_stream_operations_total", "rpc_method"), "{{rpc_method}}"),
            unit="ops",
        ).with_transformation(_SHORT),
        graph(
            "Failures by status code",
            "ABORTED, FAILED_PRECONDITION, INVALID_ARGUMENT and CANCELLED are up to the caller; "
            "RESOURCE_EXHAUSTED is a limit; the rest is up to Prism or its backend.",
            Query(
                rate("rpc_server_errors_total", "rpc_response_status_code"),
                "{{rpc_response_status_code}}",
            ),
            Query(
                rate("rpc_server_stream_operation_errors_total", "rpc_response_status_code"),
                "{{rpc_response_status_code}} in streams",
            ),
            unit="reqps",
        ),
        graph(
            "Failures by method",
            "Of every code. Compare with what arrived: a share says more than a number.",
            Query(rate("rpc_server_errors_total", "rpc_method"), "{{rpc_method}}"),
            Query(
                rate("rpc_server_stream_operation_errors_total", "rpc_method"),
                "{{rpc_method}} in streams",
            ),
            unit="reqps",
        ).with_transformation(_SHORT),
        graph(
            "Duration of calls",
            "Half, 90 % and 99 % of the calls took no longer. Streams last as long as they are "
            "wanted, and are left out.",
            *(
                Query(quantile(share, _DURATION, where=REQUESTS), name)
                for share, name in (("0.5", "50 %"), ("0.9", "90 %"), ("0.99", "99 %"))
            ),
            unit="s",
        ),
        graph(
            "Duration of calls by method, $percentile",
            "That share of a method's calls took no longer; choose it at the top.",
            Query(
                quantile("$percentile", _DURATION, "rpc_method", REQUESTS),
                "{{rpc_method}}",
            ),
            unit="s",
        ).with_transformation(_SHORT),
        heat(
            "Durations of calls",
            "How many calls took how long: two humps are two kinds of calls, or a cache that "
            "is missed.",
            Query(increase(f"{_DURATION}_bucket", "le", REQUESTS), "{{le}}"),
            unit="s",
        ),
        graph(
            "Calls in flight",
            "Calls that are being served, by method; a watch and an `Operate` stay so for long.",
            Query(total("rpc_server_calls_in_flight", "rpc_method"), "{{rpc_method}}"),
            unit="short",
        ).with_transformation(_SHORT),
    ],
)
