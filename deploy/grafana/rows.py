"""The rows of the dashboard, the most urgent first."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as model

from deploy.grafana.panels import Query, Row, graph, heat, number, table_of, timeline
from deploy.grafana.promql import (
    REQUESTS,
    SERVER_ERRORS,
    increase,
    or_zero,
    quantile,
    rate,
    series,
    total,
)

_SHARES = (("0.5", "50 %"), ("0.9", "90 %"), ("0.99", "99 %"))
_BY_DRIVER, _DRIVER_LEGEND = "instance, driver", "{{driver}} {{instance}}"
_BY_PATTERN, _PATTERN_LEGEND = "instance, pattern", "{{pattern}} {{instance}}"
_CALL_DURATION = "rpc_server_call_duration_seconds"
_OPERATION_DURATION = "backend_driver_request_duration_seconds"
_SERVER_ERROR = f'rpc_response_status_code=~"{SERVER_ERRORS}"'
_WATCH = 'rpc_method=~".*KeyValueService/Watch"'

# One series per instance: its uptime, with labels that describe it.
_INSTANCES = f"""\
{series("prism_uptime_seconds")}
* on (job, instance) group_left (state) ({series("prism_lifecycle_state")} == 1)
* on (job, instance) group_left (driver) {series("backend_driver_info")}
* on (job, instance) group_left (version) {series("prism_info")}"""

_FAILED = or_zero(rate("rpc_server_errors_total", where=f"{REQUESTS}, {_SERVER_ERROR}"))
_FAILED_IN_STREAMS = or_zero(rate("rpc_server_stream_operation_errors_total", where=_SERVER_ERROR))
_FAILED_SHARE = (
    f"({_FAILED} + {_FAILED_IN_STREAMS})\n/ ({rate('rpc_server_calls_total', where=REQUESTS)}"
    f" + {rate('rpc_server_stream_operations_total')})"
)

_ITEMS_PER_BATCH = "\n/ ".join(
    (
        rate("backend_driver_batch_items_total", "driver, operation"),
        rate("backend_driver_requests_total", "driver, operation", 'operation=~".*_many"'),
    )
)

# A legend has room for `Get`, but not for its package and service.
_SHORT_METHODS = model.DataTransformerConfig(
    id_val="renameByRegex",
    options={"regex": r"prism\.v1\.(?:KeyValueService/)?(.*)", "renamePattern": "$1"},
)

_GLANCE = Row(
    "At a glance",
    [
        number(
            "Down",
            "Instances that Prometheus cannot scrape.",
            # Not `series`: the variables offer no instance that was down all the time shown.
            Query(or_zero('count(up{job=~"$job"} == 0)')),
            unit="short",
            worse_from=(1, 2),
        ),
        number(
            "Not ready",
            "Instances that answer, but are not ready to take requests.",
            Query(f"count({series('prism_ready')}) - {total('prism_ready')}"),
            unit="short",
            worse_from=(1, 2),
        ),
        number(
            "Operations",
            "Operations of the backends, from calls and from streams; a batch is one.",
            Query(rate("backend_driver_requests_total")),
            unit="ops",
            worse_from=None,
        ),
        number(
            "Failed requests",
            "Share of the requests that ended with a status that is the server's failure: "
            f"{SERVER_ERRORS.replace('|', ', ')}.",
            Query(_FAILED_SHARE),
            unit="percentunit",
            worse_from=(0.01, 0.05),
        ),
        number(
            "99 % of operations within",
            "Time that the backend took, for operations from calls and from streams.",
            Query(quantile("0.99", _OPERATION_DURATION)),
            unit="s",
            worse_from=(0.1, 0.5),
        ),
        number(
            "Restarts",
            "Starts of a process at the same address, within the time shown.",
            Query(f"sum(changes({series('process_start_time_seconds')}[$__range]))"),
            unit="short",
            worse_from=(1, 3),
        ),
        timeline(
            "Readiness",
            "Ready means: the driver runs, and its backend answers health checks.",
            Query(series("prism_ready"), "{{instance}}"),
            yes="ready",
            no="not ready",
        ),
        table_of(
            "Instances",
            "Each process: the state of its driver, its version, and its uptime.",
            Query(_INSTANCES),
            unit="s",
            columns={
                "job": "Job",
                "instance": "Instance",
                "driver": "Driver",
                "state": "State",
                "version": "Version",
                "Value": "Uptime",
            },
        ),
    ],
)

_REQUESTS = Row(
    "gRPC requests",
    [
        graph(
            "Calls",
            "Calls that arrived, by method. `Operate` is a stream of operations; the next panel "
            "counts these.",
            Query(rate("rpc_server_calls_total", "rpc_method"), "{{rpc_method}}"),
            unit="reqps",
        ).with_transformation(_SHORT_METHODS),
        graph(
            "Operations in streams",
            "Operations that arrived in `Operate`, by the method that does the same.",
            Query(rate("rpc_server_stream_operations_total", "rpc_method"), "{{rpc_method}}"),
            unit="ops",
        ).with_transformation(_SHORT_METHODS),
        graph(
            "Failures by status code",
            "ABORTED, FAILED_PRECONDITION, INVALID_ARGUMENT and CANCELLED are up to the caller. "
            "RESOURCE_EXHAUSTED is a limit. The others are up to Prism or its backend.",
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
            "Failures with any status code. Compare them with the calls that arrived.",
            Query(rate("rpc_server_errors_total", "rpc_method"), "{{rpc_method}}"),
            Query(
                rate("rpc_server_stream_operation_errors_total", "rpc_method"),
                "{{rpc_method}} in streams",
            ),
            unit="reqps",
        ).with_transformation(_SHORT_METHODS),
        graph(
            "Duration of calls",
            "50 %, 90 % and 99 % of the calls took no longer. Streams are left out.",
            *(
                Query(quantile(share, _CALL_DURATION, where=REQUESTS), name)
                for share, name in _SHARES
            ),
            unit="s",
        ),
        graph(
            "Duration of calls by method, $percentile",
            "This share of a method's calls took no longer; select it at the top.",
            Query(
                quantile("$percentile", _CALL_DURATION, "rpc_method", REQUESTS),
                "{{rpc_method}}",
            ),
            unit="s",
        ).with_transformation(_SHORT_METHODS),
        heat(
            "Durations of calls",
            "Number of calls by duration. Two bands: two kinds of calls, or cache hits and misses.",
            Query(increase(f"{_CALL_DURATION}_bucket", "le", REQUESTS), "{{le}}"),
            unit="s",
        ),
        graph(
            "Calls in flight",
            "Calls that have not ended, by method. `Watch` and `Operate` last long.",
            Query(total("rpc_server_calls_in_flight", "rpc_method"), "{{rpc_method}}"),
            unit="short",
        ).with_transformation(_SHORT_METHODS),
    ],
)

_OPERATIONS = Row(
    "Backend operations",
    [
        graph(
            "Operations by name",
            "Operations that ended; a batch is one.",
            Query(
                rate("backend_driver_requests_total", "driver, operation"),
                "{{driver}} {{operation}}",
            ),
            unit="ops",
        ),
        graph(
            "Failures by error",
            "VersionConflict and similar errors are answers to a caller. BackendUnavailable, "
            "AccessDenied and Internal are problems. Cancelled: the caller cancelled, or the "
            "backend took longer than the deadline.",
            Query(
                rate("backend_driver_errors_total", "driver, error_type"),
                "{{driver}} {{error_type}}",
            ),
            unit="ops",
        ),
        graph(
            "Duration of operations",
            "50 %, 90 % and 99 % of the operations took no longer.",
            *(
                Query(quantile(share, _OPERATION_DURATION, "driver"), f"{{{{driver}}}} {name}")
                for share, name in _SHARES
            ),
            unit="s",
        ),
        graph(
            "Duration by operation, $percentile",
            "This share of the operations took no longer; select it at the top.",
            Query(
                quantile("$percentile", _OPERATION_DURATION, "driver, operation"),
                "{{driver}} {{operation}}",
            ),
            unit="s",
        ),
        heat(
            "Durations of operations",
            "Number of operations by duration.",
            Query(increase(f"{_OPERATION_DURATION}_bucket", "le"), "{{le}}"),
            unit="s",
        ),
        graph(
            "Failures by operation",
            "Failures with any error. Only writes fail: look for a limit or a read-only backend.",
            Query(
                rate("backend_driver_errors_total", "driver, operation"),
                "{{driver}} {{operation}}",
            ),
            unit="ops",
        ),
        graph(
            "Keys per batch",
            "Average. A caller with one key per batch gains nothing from batches.",
            Query(_ITEMS_PER_BATCH, "{{driver}} {{operation}}"),
            unit="short",
        ),
        graph(
            "Connections in use",
            "Connections to the backend at the last health check; the embedded store has none.",
            Query(total("backend_driver_connections_active", _BY_DRIVER), _DRIVER_LEGEND),
            unit="short",
        ),
    ],
)

_ADMISSION = Row(
    "Admission",
    [
        graph(
            "Operations in flight",
            "Admitted and not ended; at the limit (`--max-in-flight`) more are shed.",
            Query(total("prism_operations_in_flight", "instance"), "{{instance}}"),
            Query(total("prism_operations_in_flight_limit", "instance"), "{{instance}} limit"),
            unit="short",
            width=8,
        ),
        graph(
            "Shed",
            "Refused because too many were in flight: RESOURCE_EXHAUSTED, not applied.",
            Query(rate("prism_operations_shed_total", "instance"), "{{instance}}"),
            unit="ops",
            width=8,
        ),
        graph(
            "Refused",
            "Refused because the driver was not running: before the start, or while it drains.",
            Query(rate("prism_operations_refused_total", "instance"), "{{instance}}"),
            unit="ops",
            width=8,
        ),
    ],
)

_CONNECTIONS = Row(
    "Connections",
    [
        graph(
            "Open connections",
            "gRPC connections; at the limit (`--max-connections`) more are refused.",
            Query(total("prism_connections", "instance"), "{{instance}}"),
            Query(rate("prism_connections_refused_total", "instance"), "{{instance}} refused"),
            unit="short",
            width=6,
        ),
        graph(
            "Unread replies",
            "Replies that wait until their callers read them.",
            Query(total("prism_unread_reply_bytes", "instance"), "{{instance}}"),
            unit="bytes",
            width=6,
        ),
        graph(
            "Callers that do not read",
            "Replies refused because earlier ones were not read, and calls that ended because "
            "their caller did not read in time (`--unread-reply-timeout`).",
            Query(rate("prism_replies_refused_total", "instance"), "{{instance}} refused"),
            Query(rate("prism_calls_stalled_total", "instance"), "{{instance}} stalled"),
            unit="ops",
            width=6,
        ),
        graph(
            "Redis clients",
            "Connections to the Redis port, those that were refused or made room for others, and "
            "those that did not read their replies.",
            Query(total("prism_redis_connections", "instance"), "{{instance}}"),
            Query(
                rate("prism_redis_connections_refused_total", "instance"), "{{instance}} refused"
            ),
            Query(
                rate("prism_redis_connections_stalled_total", "instance"), "{{instance}} stalled"
            ),
            unit="short",
            width=6,
        ),
    ],
)

_WATCHES = Row(
    "Watches",
    [
        graph(
            "Open watches",
            "At the limit (`--max-watches`) more are refused.",
            Query(total("backend_driver_watches_active", _BY_DRIVER), _DRIVER_LEGEND),
            Query(total("backend_driver_watches_limit", _BY_DRIVER), f"{_DRIVER_LEGEND} limit"),
            unit="short",
            width=8,
        ),
        graph(
            "Watches started",
            "Many starts for few open watches: watches end, and their clients start new ones.",
            Query(rate("rpc_server_calls_total", "instance", _WATCH), "{{instance}}"),
            unit="reqps",
            width=8,
        ),
        graph(
            "Watches ended, by status code",
            "CANCELLED: by the client. ABORTED: the client read too slowly, or the backend's watch "
            "broke. UNAVAILABLE: this server drains.",
            Query(
                rate("rpc_server_errors_total", "rpc_response_status_code", _WATCH),
                "{{rpc_response_status_code}}",
            ),
            unit="reqps",
            width=8,
        ),
    ],
)

_STORE = Row(
    "Stored data",
    [
        graph(
            "Keys",
            "At the last health check. Replicas that share a backend report the same number.",
            Query(total("backend_driver_keys", _BY_DRIVER), _DRIVER_LEGEND),
            Query(total("backend_driver_keys_limit", _BY_DRIVER), f"{_DRIVER_LEGEND} limit"),
            unit="short",
            width=8,
        ),
        graph(
            "Bytes",
            "Keys and values, for drivers that report them. At the limit writes are refused.",
            Query(total("backend_driver_bytes", _BY_DRIVER), _DRIVER_LEGEND),
            Query(total("backend_driver_bytes_limit", _BY_DRIVER), f"{_DRIVER_LEGEND} limit"),
            unit="bytes",
            width=8,
        ),
        graph(
            "Expired keys",
            "Keys that the embedded store removed; other backends remove theirs themselves.",
            Query(rate("backend_driver_expired_keys_total", _BY_DRIVER), _DRIVER_LEGEND),
            unit="cps",
            width=8,
        ),
    ],
)

_PATTERNS = Row(
    "Patterns of a proxy",
    [
        timeline(
            "Serving patterns",
            "Calls to a pattern that does not serve fail, or wait with `--pattern-wait`.",
            Query(series("prism_pattern_up"), _PATTERN_LEGEND),
            yes="serving",
            no="not serving",
        ),
        graph(
            "Restarts of patterns",
            "Launches of a process after the first, for any reason: a crash or a command.",
            Query(increase("prism_pattern_restarts_total", _BY_PATTERN), _PATTERN_LEGEND),
            unit="short",
        ),
        graph(
            "Operations by pattern",
            "Operations sent to the pattern that ended, from calls and streams; a batch is one.",
            Query(rate("prism_pattern_requests_total", _BY_PATTERN), _PATTERN_LEGEND),
            unit="ops",
        ),
        graph(
            "Duration by pattern, $percentile",
            "This share of the operations took no longer, including the round trip.",
            Query(
                quantile("$percentile", "prism_pattern_request_duration_seconds", _BY_PATTERN),
                _PATTERN_LEGEND,
            ),
            unit="s",
        ),
        graph(
            "Failures by pattern and error",
            "VersionConflict and similar errors are answers to a caller. NotServing: the pattern "
            "was not serving.",
            Query(
                rate("prism_pattern_errors_total", "pattern, error_type"),
                "{{pattern}} {{error_type}}",
            ),
            unit="ops",
        ),
        graph(
            "In flight by pattern",
            "Operations sent to the pattern that have not ended; each pattern has its own limit.",
            Query(total("prism_pattern_operations_in_flight", _BY_PATTERN), _PATTERN_LEGEND),
            unit="short",
        ),
    ],
)

_PROCESS = Row(
    "Process",
    [
        graph(
            "Processor",
            "100 % is one core. One process uses little more than one: near that, add instances.",
            Query(rate("process_cpu_seconds_total", "instance"), "{{instance}}"),
            unit="percentunit",
        ),
        graph(
            "Memory",
            "Resident memory. The embedded store keeps all its data there.",
            Query(total("process_resident_memory_bytes", "instance"), "{{instance}}"),
            unit="bytes",
        ),
        graph(
            "File descriptors",
            "Each connection needs one; at the limit no more are accepted.",
            Query(total("process_open_fds", "instance"), "{{instance}}"),
            Query(total("process_max_fds", "instance"), "{{instance}} limit"),
            unit="short",
            width=8,
        ),
        graph(
            "Garbage collections",
            "By generation. Generation 2 stops the process longest.",
            Query(
                rate("python_gc_collections_total", "instance, generation"),
                "{{instance}} generation {{generation}}",
            ),
            unit="cps",
            width=8,
        ),
        graph(
            "Objects collected",
            "Objects in reference cycles that the garbage collector freed.",
            Query(
                rate("python_gc_objects_collected_total", "instance, generation"),
                "{{instance}} generation {{generation}}",
            ),
            unit="cps",
            width=8,
        ),
    ],
)

ROWS = (
    _GLANCE,
    _REQUESTS,
    _OPERATIONS,
    _ADMISSION,
    _CONNECTIONS,
    _WATCHES,
    _STORE,
    _PATTERNS,
    _PROCESS,
)
