"""State machine around a driver: runs lifecycle commands one at a time, and records the state."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Never, TypeVar

from prism.domain.admission import Admission
from prism.domain.redaction import Redact, redact_error, redact_health
from prism.domain.settings import parse_settings
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    BackendTimeout,
    BackendUnavailable,
    DrainReport,
    Driver,
    Health,
    HealthStatus,
    IllegalTransition,
    NotServing,
    PrismError,
    State,
    Unsupported,
)

Result = TypeVar("Result")
Settings = TypeVar("Settings")

log = logging.getLogger(__name__)

_HEALTH_TIMEOUT_S = 5.0
# Drivers have shorter limits of their own; this one is for a driver that hangs.
_STARTUP_TIMEOUT_S = 60.0
_RELOAD_TIMEOUT_S = 10.0
_DRAIN_GRACE_S = 1.0

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
"""Pauses between the attempts to initialize a driver whose backend is not there."""

_NOT_THERE = (BackendUnavailable, BackendTimeout, NotServing)

_OPEN = (State.INITIALIZED, State.RUNNING, State.DRAINING)

_ALLOWED_FROM = {
    State.INITIALIZED: {State.CREATED},
    State.RUNNING: {State.INITIALIZED},
    State.DRAINING: {State.RUNNING},
    State.STOPPED: set(State) - {State.STOPPED},
}
_COMMANDS = {
    State.INITIALIZED: "initialize",
    State.RUNNING: "start",
    State.DRAINING: "drain",
    State.STOPPED: "stop",
}


class CommandQueue:
    """Runs commands one after another, each in a task of its own.

    Cancelling a caller does not cancel its command, so no command stays half done.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()

    async def run(self, command: Awaitable[Result]) -> Result:
        """Run a command after the earlier ones; return its result or raise its error."""
        task = asyncio.create_task(self._run_after_others(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_defect)
            raise

    async def _run_after_others(self, command: Awaitable[Result]) -> Result:
        async with self._lock:
            return await command


def _log_defect(task: asyncio.Task[object]) -> None:
    # A `PrismError` shows in the state of the driver; any other error would be lost.
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, PrismError):
        log.error("a command failed after its caller was cancelled", exc_info=error)


class _Retry:
    """Repetition of a command, with growing pauses, for a limited time."""

    def __init__(self, timeout: timedelta, on_failure: Callable[[PrismError], None]) -> None:
        self.on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + timeout.total_seconds()
        self._pause_s = _FIRST_PAUSE_S

    @property
    def again(self) -> bool:
        """Whether there is time for another attempt."""
        return self._loop.time() < self._until

    async def pause(self) -> None:
        """Wait before the next attempt; the last one is at the end of the time."""
        left_s = max(self._until - self._loop.time(), 0.0)
        await asyncio.sleep(min(self._pause_s, left_s))
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)


class LifecycleMachine:
    """Implementation of `LifecycleControl` around a driver.

    Args:
        driver: driver that the commands are passed to.
        settings_type: settings dataclass of the driver.
        admission: opened by start; closed by drain, stop and a failure.
        register_secrets: called with the settings of `initialize` before they are used, so
            that the secrets among them are redacted everywhere.
        redact: hides secrets in the driver's errors and health.
    """

    def __init__(
        self,
        driver: Driver[Settings],
        settings_type: type[Settings],
        admission: Admission,
        *,
        register_secrets: Callable[[Mapping[str, str]], None] = lambda _: None,
        redact: Redact = str,
    ) -> None:
        self._driver: Driver[Never] = driver
        self._initialize_driver: Callable[[Mapping[str, str]], Awaitable[None]] = lambda texts: (
            driver.initialize(parse_settings(settings_type, texts))
        )
        # Not isinstance, which overlooks what a wrapper around the driver passes on.
        reload_driver = getattr(driver, "reload", None)
        self._reload_driver: Callable[[Mapping[str, str]], Awaitable[None]] | None = (
            None
            if reload_driver is None
            else lambda texts: reload_driver(parse_settings(settings_type, texts))
        )
        self._admission = admission
        self._register_secrets = register_secrets
        self._redact = redact
        self._commands = CommandQueue()
        self._observers: list[Callable[[State], None]] = []
        self._health_observers: list[Callable[[Health], None]] = []
        self._state = State.CREATED
        self._settings: dict[str, str] | None = None
        self._drained = DrainReport()
        self._failure = ""
        self._startup: asyncio.Task[object] | None = None

    @property
    def current(self) -> State:
        """Current state."""
        return self._state

    @property
    def failure(self) -> str:
        """Which command failed, and why; empty when none has failed."""
        return self._failure

    @property
    def settings(self) -> Mapping[str, str] | None:
        """Settings of the last `initialize`; None before the first."""
        return self._settings

    def observe(self, observer: Callable[[State], None]) -> None:
        """Call the observer with each new state, immediately and in order."""
        self._observers.append(observer)

    def observe_health(self, observer: Callable[[Health], None]) -> None:
        """Call the observer with the result of each health check."""
        self._health_observers.append(observer)

    async def state(self) -> State:
        return self._state

    async def initialize(self, settings: Mapping[str, str]) -> None:
        self._register_secrets(settings)
        await self._commands.run(self._initialize(dict(settings)))

    async def initialize_when_available(
        self,
        settings: Mapping[str, str],
        timeout: timedelta,
        on_failure: Callable[[PrismError], None],
    ) -> None:
        """Initialize the driver, and try again while its backend is not there.

        The driver stays created meanwhile, and a stop ends the attempts. Wrong settings and
        credentials fail at once.

        Args:
            timeout: time after the start during which a failed attempt is repeated; the last
                error is raised.
            on_failure: called with the error of each attempt that is repeated.
        """
        self._register_secrets(settings)
        given = dict(settings)
        await self._commands.run(self._initialize(given, _Retry(timeout, on_failure)))

    async def reload(self, settings: Mapping[str, str]) -> None:
        """Give the driver these settings, in which only secrets differ from the present ones.

        Raises:
            IllegalTransition: the driver is not open.
            Unsupported: the driver takes settings only when it is initialized.
            PrismError: raised by the driver, which keeps its settings.
        """
        self._register_secrets(settings)
        await self._commands.run(self._reload(dict(settings)))

    async def start(self) -> None:
        await self._commands.run(self._start())

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        return await self._commands.run(self._drain(timeout))

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        if self._startup is not None:
            # A driver that hangs during its startup could not be stopped otherwise.
            self._startup.cancel()
        await self._commands.run(self._stop(timeout))

    async def health(self) -> Health:
        health = await self._check_health()
        for observer in self._health_observers:
            observer(health)
        return health

    async def _check_health(self) -> Health:
        if self._state in _OPEN:
            try:
                async with asyncio.timeout(_HEALTH_TIMEOUT_S):
                    return redact_health(await self._driver.health(), self._redact)
            except TimeoutError:
                message = f"no answer to a health check within {_HEALTH_TIMEOUT_S:g} s"
            except Exception as error:
                log.exception("the driver's health check failed; this is a defect of the driver")
                message = f"the health check failed: {type(error).__name__}"
            return Health(HealthStatus.UNHEALTHY, message)
        message = f"the driver is {self._state}"
        if self._failure:
            message = f"{message}: {self._failure}"
        return Health(HealthStatus.UNHEALTHY, message)

    async def _initialize(self, settings: dict[str, str], retry: _Retry | None = None) -> None:
        if self._state is State.INITIALIZED and settings != self._settings:
            raise IllegalTransition(
                f"the driver is {self._state} with other settings; stop it first"
            )
        if self._took_effect(State.INITIALIZED):
            return
        self._settings = settings
        with self._failing("initialize"):
            await self._run_startup("initialize", self._initialize_repeatedly(settings, retry))
        self._enter(State.INITIALIZED)

    async def _initialize_repeatedly(self, settings: dict[str, str], retry: _Retry | None) -> None:
        while True:
            try:
                attempt = self._initialize_driver(settings)
                return await _bounded("initialize", _STARTUP_TIMEOUT_S, attempt)
            except _NOT_THERE as error:
                if retry is None or not retry.again:
                    raise
                redact_error(error, self._redact)
                retry.on_failure(error)
            await retry.pause()

    async def _reload(self, settings: dict[str, str]) -> None:
        if self._state not in _OPEN:
            raise IllegalTransition(f"cannot reload: the driver is {self._state}")
        if self._reload_driver is None:
            raise Unsupported("the driver takes a changed secret only when the server is restarted")
        try:
            await _bounded("reload", _RELOAD_TIMEOUT_S, self._reload_driver(settings))
        except PrismError as error:
            redact_error(error, self._redact)
            raise
        self._settings = settings

    async def _start(self) -> None:
        if self._took_effect(State.RUNNING):
            return
        with self._failing("start"):
            start = _bounded("start", _STARTUP_TIMEOUT_S, self._driver.start())
            await self._run_startup("start", start)
        self._admission.open()
        self._enter(State.RUNNING)

    async def _drain(self, timeout: timedelta) -> DrainReport:
        if self._took_effect(State.DRAINING):
            return self._drained
        self._admission.close("draining")
        self._enter(State.DRAINING)
        with self._failing("drain"):
            admitted = await self._admission.drain(timeout)
            limit_s = timeout.total_seconds() + _DRAIN_GRACE_S
            buffered = await _bounded("drain", limit_s, self._driver.drain(timeout))
        self._drained = DrainReport(
            completed=admitted.completed + buffered.completed,
            aborted=admitted.aborted + buffered.aborted,
        )
        return self._drained

    async def _stop(self, timeout: timedelta) -> None:
        if self._took_effect(State.STOPPED):
            return
        self._admission.close("stopped")
        with self._failing("stop"):
            # Aborts the operations in flight: to let them finish, drain before stopping.
            await self._admission.drain(timedelta())
            await _bounded("stop", timeout.total_seconds(), self._driver.stop(timeout))
        self._enter(State.STOPPED)

    async def _run_startup(self, command: str, work: Awaitable[None]) -> None:
        self._startup = asyncio.current_task()
        try:
            await work
        except asyncio.CancelledError:
            raise NotServing(f"{command} was cancelled by a stop") from None
        finally:
            self._startup = None

    def _took_effect(self, target: State) -> bool:
        """Return whether the state is `target` already; raise if it cannot be reached from here."""
        if self._state is target:
            return True
        if self._state not in _ALLOWED_FROM[target]:
            sources = ", ".join(s for s in State if s in _ALLOWED_FROM[target])
            raise IllegalTransition(
                f"cannot {_COMMANDS[target]}: the driver is {self._state}, and becomes "
                f"{target} only from {sources}"
            )
        return False

    @contextmanager
    def _failing(self, command: str) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            cause = "an internal error"
            if isinstance(error, PrismError):
                redact_error(error, self._redact)
                cause = error.message
            self._failure = f"{command} failed: {cause}"
            self._admission.close("failed")
            self._enter(State.FAILED)
            raise

    def _enter(self, state: State) -> None:
        self._state = state
        for observer in self._observers:
            observer(state)


async def _bounded(command: str, seconds: float, work: Awaitable[Result]) -> Result:
    try:
        async with asyncio.timeout(seconds) as bound:
            return await work
    except TimeoutError:
        if not bound.expired():
            raise
        raise BackendTimeout(f"the driver did not {command} within {seconds:g} s") from None
