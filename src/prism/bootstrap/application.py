"""Runs what the container built: opens everything, serves until it is stopped, closes in order."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    contextmanager,
    nullcontext,
    suppress,
)
from typing import Protocol

from prism.adapters.grpc.transports.options import ListenerObserver
from prism.adapters.grpc.transports.tls import ServerTls
from prism.bootstrap.commander import Commander, ServerAddresses
from prism.bootstrap.configuration import ServerConfiguration
from prism.bootstrap.reloading import Reloader
from prism.bootstrap.signals import handle_signals
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.ports import PrismError, State

log = logging.getLogger(__name__)


class GrpcServer(Protocol):
    """gRPC server on any transport."""

    @property
    def addresses(self) -> tuple[str, ...]: ...
    def observe(self, observer: ListenerObserver) -> None: ...
    async def start(self) -> tuple[str, ...]: ...
    async def reload_tls(self, tls: ServerTls) -> bool: ...
    async def stop(self) -> None: ...


class RedisServer(Protocol):
    """Server of the Redis protocol."""

    async def start(self) -> str: ...
    async def stop(self) -> None: ...


class MetricsServer(Protocol):
    """HTTP server for health, readiness, metrics and the status page."""

    async def start(self) -> str: ...
    async def stop(self) -> None: ...


class Telemetry(Protocol):
    """Export of traces, from the start of the server to its end."""

    def open(self) -> None: ...
    def none_sampled(self) -> AbstractContextManager[None]: ...
    async def close(self) -> None: ...


class IssuerKeys(Protocol):
    """Asks the issuer of tokens for its keys."""

    async def run(self) -> None: ...


class RequestLog(Protocol):
    """Log of requests, which may hold lines back until it is closed."""

    def close(self) -> None: ...


class AuditLog(Protocol):
    """Audit log, which may have counted events that it has not written yet."""

    def close(self) -> None: ...


class Application:
    """One run of a server.

    HTTP listens first, so that /health answers while the driver is initialized, and then gRPC, so
    that a port in use is found before a backend is touched.
    """

    def __init__(
        self,
        *,
        configuration: ServerConfiguration,
        lifecycle: LifecycleMachine,
        readiness: ReadinessMonitor,
        grpc_server: GrpcServer,
        http_server: MetricsServer | None,
        commander: Commander,
        telemetry: Telemetry | None = None,
        request_log: RequestLog | None = None,
        audit_log: AuditLog | None = None,
        reloader: Reloader,
        redis_server: RedisServer | None = None,
        issuer_keys: IssuerKeys | None = None,
    ) -> None:
        self._issuer_keys = issuer_keys
        self._settings = configuration.settings
        self._lifecycle = lifecycle
        self._readiness = readiness
        self._grpc_server = grpc_server
        self._http_server = http_server
        self._commander = commander
        self._telemetry = telemetry
        self._request_log = request_log
        self._audit_log = audit_log
        self._reloader = reloader
        self._redis_server = redis_server
        self._redis_address = ""
        self._ending = asyncio.Event()
        self._stopped = asyncio.Event()
        self._addresses: ServerAddresses | None = None
        self._failed = False
        lifecycle.observe(self._on_state)
        grpc_server.observe(self)

    async def run(self) -> int:
        """Serve until a signal, a Stop by RPC, or `end`.

        Returns:
            The exit status: 0, or 1 if something failed, which is logged.
        """
        try:
            async with AsyncExitStack() as stack:
                stack.enter_context(handle_signals(self.end, self._reloader.request))
                await self._serve(stack)
        except PrismError as error:
            self._log_failure(error)
        log.info("ended", extra={"status": int(self._failed)})
        return int(self._failed)

    def listener_lost(self, reason: str) -> None:
        self._readiness.block(f"the gRPC listener ended: {reason}")

    def listener_restored(self) -> None:
        self._readiness.unblock()

    def listener_gone(self, reason: str) -> None:
        log.error("the gRPC listener cannot be started again: %s", reason)
        self._failed = True
        self.end("the gRPC listener is lost")

    def end(self, reason: str) -> None:
        """Shut down in order, and let `run` return."""
        if not self._ending.is_set():
            log.info("shutting down: %s", reason)
            self._ending.set()

    async def _serve(self, stack: AsyncExitStack) -> None:
        if self._telemetry is not None:
            self._telemetry.open()
            stack.push_async_callback(self._telemetry.close)
        metrics_address = None
        if self._http_server is not None:
            stack.push_async_callback(self._http_server.stop)
            metrics_address = await self._http_server.start()
            log.debug("health is answered on %s", metrics_address)
        if self._request_log is not None:
            stack.callback(self._request_log.close)
        if self._audit_log is not None:
            stack.callback(self._audit_log.close)
        if self._issuer_keys is not None:
            asking = asyncio.create_task(self._issuer_keys.run())
            stack.push_async_callback(_cancel, asking)
        stack.push_async_callback(self._grpc_server.stop)
        # Tasks of the server inherit this context, in which nothing is sampled.
        with nullcontext() if self._telemetry is None else self._telemetry.none_sampled():
            grpc_addresses = await self._grpc_server.start()
            if self._redis_server is not None:
                stack.push_async_callback(self._redis_server.stop)
                self._redis_address = await self._redis_server.start()
        self._addresses = ServerAddresses(grpc_addresses, metrics_address)
        reloading = asyncio.create_task(self._reloader.run())
        stack.push_async_callback(_cancel, reloading)
        # Closed after the driver: the command that stops the driver is still answered.
        stack.push_async_callback(self._commander.close)
        stack.push_async_callback(self._close_driver)
        watch = asyncio.create_task(self._readiness.watch())
        stack.push_async_callback(_cancel, watch)
        try:
            await self._command_until_end(self._addresses)
        except PrismError as error:
            # Logged before everything is closed, or the error would look like a consequence.
            self._log_failure(error)
            self._ending.set()

    async def _command_until_end(self, addresses: ServerAddresses) -> None:
        commanding = asyncio.create_task(self._commander.command(addresses, self.end))
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait((commanding, ending), return_when=asyncio.FIRST_COMPLETED)
            if not self._ending.is_set():
                commanding.result()
                await ending
        finally:
            # A lifecycle command that began goes on, and the stop that follows waits for it.
            await _cancel(ending)
            await _cancel(commanding)

    async def _close_driver(self) -> None:
        self._readiness.withdraw("shutting down")
        if self._lifecycle.current is State.RUNNING:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.drain_delay.total_seconds()):
                    await self._stopped.wait()
        if self._lifecycle.current in (State.RUNNING, State.DRAINING):
            with self._failure_logged("drain"):
                report = await self._lifecycle.drain(self._settings.drain_timeout)
                log.info(
                    "drained", extra={"completed": report.completed, "aborted": report.aborted}
                )
        with self._failure_logged("stop"):
            await self._lifecycle.stop(self._settings.stop_timeout)

    def _log_failure(self, error: PrismError) -> None:
        log.error("%s", error.message, extra={"reason": error.reason})
        self._failed = True

    @contextmanager
    def _failure_logged(self, command: str) -> Iterator[None]:
        """Log a failure and go on: raised, it would hide why the server ends."""
        try:
            yield
        except PrismError as error:
            self._failed = True
            log.error("%s failed: %s", command, error.message, extra={"reason": error.reason})
        except Exception:
            self._failed = True
            log.exception("%s failed unexpectedly; this is a defect of the driver", command)

    def _on_state(self, state: State) -> None:
        log.debug("the driver is %s", state)
        if state is State.RUNNING and self._addresses is not None:
            _log_serving(self._addresses, self._redis_address)
        elif state is State.STOPPED:
            self._stopped.set()
            self.end("the driver is stopped")


def _log_serving(addresses: ServerAddresses, redis_address: str) -> None:
    address, *others = addresses.grpc
    log.info(
        "serving",
        extra={
            "grpc_address": address,
            **({"more_grpc_addresses": others} if others else {}),
            "metrics_address": addresses.metrics,
            **({"redis_address": redis_address} if redis_address else {}),
            "pid": os.getpid(),
        },
    )


async def _cancel(task: asyncio.Task[object]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, PrismError):
        await task
