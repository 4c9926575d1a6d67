"""Metrics of a server: its state, the gRPC calls that it serves, and its driver."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Protocol

from google.rpc import code_pb2
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from prism.adapters.observability.metrics.exposition import Family, add_durations, add_errors
from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.domain.tallies import Durations
from prism.ports import OPERATIONS, Keys, State

# https://opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics/
METHOD, CODE = "rpc_method", "rpc_response_status_code"
DRIVER, OPERATION, ERROR = "driver", "operation", "error_type"

# Details of a health check, with the gauge made of each.
_HEALTH_GAUGES = (
    ("keys", "backend_driver_keys", "Keys in the backend at the last health check."),
    ("max_keys", "backend_driver_keys_limit", "Maximum number of keys, if the backend has one."),
    (
        "bytes",
        "backend_driver_bytes",
        "Bytes of keys and values in the backend at the last health check.",
    ),
    (
        "max_bytes",
        "backend_driver_bytes_limit",
        "Maximum bytes of keys and values, if the backend has one.",
    ),
)


class Listener(Protocol):
    """gRPC server whose connections are counted."""

    @property
    def connections(self) -> int: ...
    @property
    def refused_connections(self) -> int: ...
    @property
    def stalled_calls(self) -> int: ...


class ServerCollector(Collector):
    """Metrics of the process: lifecycle, readiness, admission and connections.

    Args:
        version: version of Prism.
    """

    def __init__(
        self,
        version: str,
        admission: Admission,
        lifecycle: LifecycleMachine,
        readiness: ReadinessMonitor,
        listener: Listener,
    ) -> None:
        self._version = version
        self._listener = listener
        self._admission = admission
        self._lifecycle = lifecycle
        self._readiness = readiness
        self._built_at_s = time.monotonic()

    def collect(self) -> Iterator[Family]:
        yield InfoMetricFamily("prism", "Version of Prism.", value={"version": self._version})
        yield GaugeMetricFamily(
            "prism_uptime_seconds",
            "Time since the server was built.",
            value=time.monotonic() - self._built_at_s,
        )
        states = GaugeMetricFamily(
            "prism_lifecycle_state", "1 for the current state of the driver.", labels=["state"]
        )
        for state in State:
            states.add_metric([str(state)], state is self._lifecycle.current)
        yield states
        yield GaugeMetricFamily(
            "prism_ready",
            "1 while /ready answers 200.",
            value=self._readiness.current.ready,
        )
        yield GaugeMetricFamily(
            "prism_operations_in_flight",
            "Admitted operations that have not ended.",
            value=self._admission.in_flight,
        )
        yield GaugeMetricFamily(
            "prism_operations_in_flight_limit",
            "Maximum number of operations in flight.",
            value=self._admission.max_in_flight,
        )
        yield CounterMetricFamily(
            "prism_operations_refused",
            "Operations refused because the driver was not running.",
            value=self._admission.refused,
        )
        yield CounterMetricFamily(
            "prism_operations_shed",
            "Operations refused because too many were in flight.",
            value=self._admission.shed,
        )
        yield GaugeMetricFamily(
            "prism_connections", "Open gRPC connections.", value=self._listener.connections
        )
        yield CounterMetricFamily(
            "prism_connections_refused",
            "gRPC connections refused because too many were open.",
            value=self._listener.refused_connections,
        )
        yield GaugeMetricFamily(
            "prism_unread_reply_bytes",
            "Bytes of replies that callers have not read.",
            value=self._admission.unread.used,
        )
        yield CounterMetricFamily(
            "prism_replies_refused",
            "Replies refused because earlier ones were not read.",
            value=self._admission.unread.refused,
        )
        yield CounterMetricFamily(
            "prism_calls_stalled",
            "Calls that ended because their caller did not read the reply in time.",
            value=self._listener.stalled_calls,
        )


class RedisDoor(Protocol):
    """Port for Redis clients, whose connections are counted."""

    @property
    def sessions(self) -> Sized: ...
    @property
    def refused(self) -> int: ...
    @property
    def stalled(self) -> int: ...


class RedisCollector(Collector):
    """Metrics of the connections of Redis clients."""

    def __init__(self, door: RedisDoor) -> None:
        self._door = door

    def collect(self) -> Iterator[Family]:
        yield GaugeMetricFamily(
            "prism_redis_connections",
            "Open connections of Redis clients.",
            value=len(self._door.sessions),
        )
        yield CounterMetricFamily(
            "prism_redis_connections_refused",
            "Connections of Redis clients refused or closed because too many were open.",
            value=self._door.refused,
        )
        yield CounterMetricFamily(
            "prism_redis_connections_stalled",
            "Connections of Redis clients that did not read the replies in time.",
            value=self._door.stalled,
        )


class RpcTally(Protocol):
    """Counts of one method; see `prism.adapters.grpc.calls.Tally`."""

    @property
    def started(self) -> int: ...
    @property
    def ended(self) -> int: ...
    @property
    def failed(self) -> Mapping[int, int]: ...


class RpcMethod(Protocol):
    """Method whose calls are counted."""

    @property
    def path(self) -> str: ...
    @property
    def tally(self) -> RpcTally: ...


class TimedRpcMethod(RpcMethod, Protocol):
    """Method whose calls are counted and timed."""

    @property
    def durations(self) -> Durations: ...


class RpcCollector(Collector):
    """Metrics of gRPC calls, of the operations in streams, and of commands of Redis clients.

    Args:
        methods: every method that is served.
        stream_operations: kinds of operation in a stream, each with the path of the method
            that does the same.
        redis_commands: commands of Redis clients; those that were called.
    """

    def __init__(
        self,
        methods: Iterable[TimedRpcMethod],
        stream_operations: Iterable[RpcMethod],
        redis_commands: Iterable[TimedRpcMethod] = (),
    ) -> None:
        self._grpc_methods = tuple(methods)
        self._redis_commands = redis_commands
        self._stream_operations = tuple(stream_operations)

    def collect(self) -> Iterator[Family]:
        methods = (*self._grpc_methods, *self._redis_commands)
        yield _started("rpc_server_calls", "Calls that arrived.", methods)
        yield _failed("rpc_server_errors", "Calls that failed, by status code.", methods)
        in_flight = GaugeMetricFamily(
            "rpc_server_calls_in_flight", "Calls that have not ended.", labels=[METHOD]
        )
        durations = HistogramMetricFamily(
            "rpc_server_call_duration_seconds",
            "Time from the arrival of a call to its end; for a stream, its whole life.",
            labels=[METHOD],
        )
        for method in methods:
            in_flight.add_metric([_name(method)], method.tally.started - method.tally.ended)
            add_durations(durations, [_name(method)], method.durations)
        yield in_flight
        yield durations
        yield _started(
            "rpc_server_stream_operations",
            "Operations that arrived in streams.",
            self._stream_operations,
        )
        yield _failed(
            "rpc_server_stream_operation_errors",
            "Operations in streams that failed, by status code.",
            self._stream_operations,
        )


class DriverCollector(Collector):
    """Metrics of the driver's operations, and of its last health check.

    Args:
        driver: name of the driver.
        version: version of the driver.
    """

    def __init__(
        self, driver: str, version: str, gateway: Gateway, readiness: ReadinessMonitor
    ) -> None:
        self._driver = driver
        self._version = version
        self._gateway = gateway
        self._readiness = readiness

    def collect(self) -> Iterator[Family]:
        yield InfoMetricFamily(
            "backend_driver",
            "The driver that is served.",
            value={"driver": self._driver, "version": self._version},
        )
        yield from self._operations()
        yield from self._health_details()
        watches = self._gateway.watches
        yield self._gauge("backend_driver_watches_active", "Open watches.", watches.active)
        yield self._gauge(
            "backend_driver_watches_limit", "Maximum number of open watches.", watches.max_watches
        )

    def _operations(self) -> Iterator[Family]:
        labels = [DRIVER, OPERATION]
        requests = CounterMetricFamily(
            "backend_driver_requests", "Operations that ended; a batch is one.", labels=labels
        )
        durations = HistogramMetricFamily(
            "backend_driver_request_duration_seconds", "Duration of an operation.", labels=labels
        )
        errors = CounterMetricFamily(
            "backend_driver_errors",
            "Operations that failed; Cancelled: by the caller or its deadline.",
            labels=[*labels, ERROR],
        )
        items = CounterMetricFamily(
            "backend_driver_batch_items", "Keys in batches and transactions.", labels=labels
        )
        for operation, tally in self._gateway.tallies.items():
            names = [self._driver, operation]
            requests.add_metric(names, sum(tally.durations.counts))
            add_durations(durations, names, tally.durations)
            add_errors(errors, names, tally.failed)
            if OPERATIONS[operation].keys in (Keys.MANY, Keys.TRANSACTION):
                items.add_metric(names, tally.items)
        yield from (requests, durations, errors, items)

    def _health_details(self) -> Iterator[Family]:
        yield self._gauge(
            "backend_driver_connections_active",
            "Connections to the backend in use at the last health check; 0 if it is embedded.",
            self._detail("connections") or 0,
        )
        for detail, name, text in _HEALTH_GAUGES:
            yield self._gauge(name, text, self._detail(detail))
        expired = CounterMetricFamily(
            "backend_driver_expired_keys",
            "Expired keys that the driver removed, if it removes them itself.",
            labels=[DRIVER],
        )
        if (count := self._detail("expired")) is not None:
            expired.add_metric([self._driver], count)
        yield expired

    def _gauge(self, name: str, text: str, value: int | None) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, text, labels=[DRIVER])
        if value is not None:
            family.add_metric([self._driver], value)
        return family

    def _detail(self, name: str) -> int | None:
        text = self._readiness.details.get(name, "")
        return int(text) if text.isdecimal() else None


def _started(name: str, text: str, methods: Iterable[RpcMethod]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[METHOD])
    for method in methods:
        family.add_metric([_name(method)], method.tally.started)
    return family


def _failed(name: str, text: str, methods: Iterable[RpcMethod]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[METHOD, CODE])
    for method in methods:
        for code, count in sorted(method.tally.failed.items()):
            family.add_metric([_name(method), code_pb2.Code.Name(code)], count)
    return family


def _name(method: RpcMethod) -> str:
    return method.path.removeprefix("/")
