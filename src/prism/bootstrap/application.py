"""Runs what the container built: up, until told to end, and down in order."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Protocol

from prism.bootstrap.configuration import Configuration
from prism.bootstrap.signals import handle_signals
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.ports import IllegalTransition, PrismError, State

log = logging.getLogger(__name__)


class GrpcServer(Protocol):
    """Whichever transport carries the servicers."""

    async def start(self) -> tuple[str, ...]: ...
    async def stop(self) -> None: ...


class HttpServer(Protocol):
    """Health and readiness for probes."""

    async def start(self) -> str: ...
    async def stop(self) -> None: ...


class Telemetry(Protocol):
    """What is exported while the server runs, and to its very end."""

    def open(self) -> None: ...
    async def close(self) -> None: ...


class Application:
    """One run of a server, from nothing open to nothing open.

    HTTP listens first, so that /health answers while the driver is initialized,
    then gRPC, so that a port that is taken is found before a backend is touched.
    """

    def __init__(
        self,
        *,
        configuration: Configuration,
        lifecycle: LifecycleMachine,
        readiness: ReadinessMonitor,
        grpc_server: GrpcServer,
        http_server: HttpServer | None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._configuration = configuration
        self._settings = configuration.settings
        self._lifecycle = lifecycle
        self._readiness = readiness
        self._grpc_server = grpc_server
        self._http_server = http_server
        self._telemetry = telemetry
        self._ending = asyncio.Event()
        self._stopped = asyncio.Event()
        self._failed = False
        lifecycle.observe(self._follow)

    async def run(self) -> int:
        """Serve until a signal, a Stop by RPC, or `end`.

        Returns:
            The exit status: 0, or 1 when something failed, which is then logged.
        """
        try:
            async with AsyncExitStack() as stack:
                stack.enter_context(handle_signals(self.end))
                await self._serve(stack)
        except PrismError as error:
            self._tell(error)
        log.info("ended", extra={"status": int(self._failed)})
        return int(self._failed)

    def _tell(self, error: PrismError) -> None:
        log.error("%s", error.message, extra={"reason": error.reason})
        self._failed = True

    def end(self, why: str) -> None:
        """Shut down in order, and let `run` return."""
        if not self._ending.is_set():
            log.info("shutting down: %s", why)
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
        stack.push_async_callback(self._grpc_server.stop)
        grpc_address, *others = await self._grpc_server.start()
        stack.push_async_callback(self._close_driver)
        watch = asyncio.create_task(self._readiness.watch())
        stack.push_async_callback(_cancel, watch)

        try:
            serving = await self._bring_up()
        except PrismError as error:
            # Said before everything is closed again, or it would read as a consequence.
            self._tell(error)
            self._ending.set()
            return
        if serving:
            log.info(
                "serving",
                extra={
                    "grpc_address": grpc_address,
                    **({"more_grpc_addresses": others} if others else {}),
                    "metrics_address": metrics_address,
                    "pid": os.getpid(),
                },
            )
            await self._ending.wait()

    async def _bring_up(self) -> bool:
        """Whether the driver runs, and the server is not already told to end."""
        starting = asyncio.create_task(self._start(self._configuration.driver_settings))
        ending = asyncio.create_task(self._ending.wait())
        await asyncio.wait((starting, ending), return_when=asyncio.FIRST_COMPLETED)
        await _cancel(ending)
        if self._ending.is_set():
            # What began goes on, and the stop that follows waits its turn.
            await _cancel(starting)
            return False
        starting.result()
        return True

    async def _start(self, settings: Mapping[str, str]) -> None:
        try:
            await self._lifecycle.initialize(settings)
            await self._lifecycle.start()
        except IllegalTransition:
            # Somebody was quicker, by RPC; if that was a stop, it ends us.
            if self._lifecycle.current is not State.STOPPED:
                raise

    async def _close_driver(self) -> None:
        self._readiness.leave("shutting down")
        if self._lifecycle.current is State.RUNNING:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.drain_delay.total_seconds()):
                    await self._stopped.wait()
        if self._lifecycle.current in (State.RUNNING, State.DRAINING):
            with self._told("drain"):
                report = await self._lifecycle.drain(self._settings.drain_timeout)
                log.info(
                    "drained", extra={"completed": report.completed, "aborted": report.aborted}
                )
        with self._told("stop"):
            await self._lifecycle.stop(self._settings.stop_timeout)

    @contextmanager
    def _told(self, command: str) -> Iterator[None]:
        """A failure is logged and goes no further, or it would hide why we end."""
        try:
            yield
        except PrismError as error:
            self._failed = True
            log.error("%s failed: %s", command, error.message, extra={"reason": error.reason})
        except Exception:
            self._failed = True
            log.exception("%s failed unexpectedly; this is a defect of the driver", command)

    def _follow(self, state: State) -> None:
        log.debug("the driver is %s", state)
        if state is State.STOPPED:
            self._stopped.set()
            self.end("the driver is stopped")


async def _cancel(task: asyncio.Task[object]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, PrismError):
        await task
