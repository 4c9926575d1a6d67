"""Group lifecycle: states and commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any, Never

import pytest
import pytest_asyncio

from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    BackendUnavailable,
    DrainReport,
    Driver,
    Health,
    HealthStatus,
    IllegalTransition,
    NotServing,
    PrismError,
    State,
)
from prism.testing.suite.backend import Backend, Level, OpenBackend
from prism.testing.suite.drain import Drains
from prism.testing.suite.endings import Endings
from prism.testing.suite.group import NOT_REACHABLE, group
from prism.testing.suite.operations import EVERY_OPERATION, SampleOperation
from prism.testing.suite.restart import Restarts
from prism.testing.suite.timing import time_limit, wait_until
from prism.testing.suite.wrapper import DriverWrapper

ALLOWED = {
    "initialize": {State.CREATED, State.INITIALIZED},
    "start": {State.INITIALIZED, State.RUNNING},
    "drain": {State.RUNNING, State.DRAINING},
    "stop": set(State),
}

FROM_STATE = {
    "initialize": State.CREATED,
    "start": State.INITIALIZED,
    "drain": State.RUNNING,
    "stop": State.DRAINING,
}

PERMITTED = [
    (name, state) for name, states in ALLOWED.items() for state in State if state in states
]

FORBIDDEN = [
    (name, state) for name, states in ALLOWED.items() for state in State if state not in states
]

EVERY_STATE = pytest.mark.parametrize("state", list(State))

TO_STATE = {
    "initialize": State.INITIALIZED,
    "start": State.RUNNING,
    "drain": State.DRAINING,
    "stop": State.STOPPED,
}

_TIMEOUT = timedelta(seconds=10)
_ENDED_SECONDS = 60.0

COMMANDS = ("initialize", "start", "drain", "stop")


@group()
class LifecycleRules(Drains, Endings, Restarts):
    """created → initialized → running → draining → stopped, and failed."""

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def ended(cls, open_backend: OpenBackend) -> AsyncIterator[Mapping[State, Backend]]:
        """A draining and a stopped backend, shared because a new one may take seconds to start.

        The tests that use them change no state.
        """
        async with AsyncExitStack() as stack:
            async with time_limit(_ENDED_SECONDS, "draining a backend, and stopping another"):
                backends = {
                    state: await stack.enter_async_context(backend_in(state, open_backend))
                    for state in (State.DRAINING, State.STOPPED)
                }
            yield backends

    @pytest.mark.parametrize(("name", "state"), PERMITTED)
    async def test_a_command_leads_to_its_state(
        self, open_backend: OpenBackend, ended: Mapping[State, Backend], name: str, state: State
    ) -> None:
        shared = ended if TO_STATE[name] is state else {}
        async with _unchanged_in(state, open_backend, shared) as backend:
            with no_answer_if_stopped(backend, state):
                await command(backend, name)
            assert await is_in(backend, TO_STATE[name])

    @pytest.mark.parametrize("name", ALLOWED)
    async def test_repeating_a_command_succeeds(self, open_backend: OpenBackend, name: str) -> None:
        async with backend_in(FROM_STATE[name], open_backend) as backend:
            await command(backend, name)
            for _ in range(2):
                with no_answer_if_stopped(backend, TO_STATE[name]):
                    await command(backend, name)
            assert await is_in(backend, TO_STATE[name])

    @pytest.mark.parametrize(("name", "state"), FORBIDDEN)
    async def test_a_forbidden_command_is_refused_with_both_states_in_the_message(
        self, open_backend: OpenBackend, ended: Mapping[State, Backend], name: str, state: State
    ) -> None:
        async with _unchanged_in(state, open_backend, ended) as backend:
            with pytest.raises(_expected_errors(backend, state)) as refusal:
                await command(backend, name)
            if isinstance(refusal.value, IllegalTransition):
                assert str(state) in refusal.value.message
                assert str(TO_STATE[name]) in refusal.value.message
                assert await is_in(backend, state)

    async def test_initialize_again_with_other_settings_is_refused(
        self, open_backend: OpenBackend
    ) -> None:
        async with backend_in(State.INITIALIZED, open_backend) as backend:
            with pytest.raises(IllegalTransition):
                await backend.lifecycle.initialize({**backend.settings, "another": "setting"})
            await backend.lifecycle.initialize(backend.settings)
            assert await backend.lifecycle.state() is State.INITIALIZED

    async def test_an_unknown_setting_is_refused_by_name(self, open_backend: OpenBackend) -> None:
        async with backend_in(State.CREATED, open_backend) as backend:
            with pytest.raises(PrismError, match="no-such-setting"):
                await backend.lifecycle.initialize({**backend.settings, "no-such-setting": "1"})
            assert await backend.lifecycle.state() is State.FAILED

    async def test_a_failed_command_is_shown_by_state_and_health(
        self, open_backend: OpenBackend
    ) -> None:
        async with backend_in(State.FAILED, open_backend) as backend:
            health = await backend.lifecycle.health()
            assert health.status is HealthStatus.UNHEALTHY
            assert "initialize fails" in health.message

    async def test_only_stop_leaves_failed(self, open_backend: OpenBackend) -> None:
        async with backend_in(State.FAILED, open_backend) as backend:
            for name in ("initialize", "start", "drain"):
                with pytest.raises(IllegalTransition):
                    await command(backend, name)
            assert await backend.lifecycle.state() is State.FAILED
            await backend.lifecycle.stop()
            assert await is_in(backend, State.STOPPED)

    @EVERY_STATE
    async def test_health_answers_in_every_state(
        self, open_backend: OpenBackend, ended: Mapping[State, Backend], state: State
    ) -> None:
        async with _unchanged_in(state, open_backend, ended) as backend:
            try:
                health = await backend.lifecycle.health()
            except (BackendUnavailable, NotServing):
                # A server that has stopped does not answer.
                assert backend.level > Level.IN_PROCESS
                assert state is State.STOPPED
                return
            assert isinstance(health, Health)
            assert health.message
            assert {type(text) for pair in health.details.items() for text in pair} <= {str}
            if state is State.RUNNING:
                assert health.status is not HealthStatus.UNHEALTHY
            if state in (State.CREATED, State.STOPPED, State.FAILED):
                assert health.status is HealthStatus.UNHEALTHY

    @pytest.mark.parametrize("state", [state for state in State if state is not State.RUNNING])
    async def test_operations_are_refused_unless_running(
        self,
        open_backend: OpenBackend,
        ended: Mapping[State, Backend],
        key: str,
        state: State,
    ) -> None:
        async with _unchanged_in(state, open_backend, ended) as backend:
            with pytest.raises((NotServing, BackendUnavailable)) as refusal:
                await backend.kv.get(key)
            if backend.level is Level.IN_PROCESS or state is not State.STOPPED:
                assert isinstance(refusal.value, NotServing)

    @EVERY_OPERATION
    async def test_every_operation_is_refused_while_draining(
        self, ended: Mapping[State, Backend], key: str, operation: SampleOperation
    ) -> None:
        drained = ended[State.DRAINING]
        operation.skip_unless_declared_by(drained.profile)
        with pytest.raises(NotServing) as refusal:
            await operation.call(drained.kv, key)
        assert refusal.value.reason == "NOT_SERVING"

    async def test_the_profile_is_complete_once_initialized(
        self, open_backend: OpenBackend
    ) -> None:
        async with open_backend() as backend:
            profile = backend.profile
            assert profile.driver
            assert profile.version
            for name, declared in profile.capabilities.items():
                assert declared.granularity >= timedelta(), name
                assert declared.clock_error >= timedelta(), name
            for limit in ("max_value_bytes", "max_batch_items", "max_batch_bytes"):
                assert getattr(profile.limits, limit) > 0, limit
            assert profile.limits.max_page_size > 0
            assert profile.limits.max_key_bytes >= 1024

    async def test_a_backend_goes_through_every_state(
        self, open_backend: OpenBackend, key: str
    ) -> None:
        async with open_backend(start=False) as backend:
            await advance_to(backend, State.RUNNING)
            await backend.kv.set(key, b"value")
            entry = await backend.kv.get(key)
            assert entry is not None
            assert entry.value == b"value"
            report = await backend.lifecycle.drain(timedelta(seconds=5))
            assert report.aborted == 0
            await backend.lifecycle.stop()

    # Concurrent commands

    async def test_concurrent_commands_never_interleave(self, open_backend: OpenBackend) -> None:
        recorder = CommandRecorder()
        async with open_backend(wrap=recorder.wrap, start=False) as backend:
            recorder.clear()
            given = [name for name in COMMANDS for _ in range(2)]
            outcomes = await asyncio.gather(
                *(command(backend, name) for name in given), return_exceptions=True
            )
            defects = [
                outcome
                for outcome in outcomes
                if isinstance(outcome, BaseException) and not isinstance(outcome, PrismError)
            ]
            assert defects == []
            assert recorder.max_running == 1

    async def test_a_repeated_command_reaches_the_driver_once(
        self, open_backend: OpenBackend
    ) -> None:
        recorder = CommandRecorder()
        async with open_backend(wrap=recorder.wrap, start=False) as backend:
            before = await backend.lifecycle.state()
            for name in COMMANDS[:3]:
                if before is State.RUNNING and name != "drain":
                    continue
                await asyncio.gather(*(command(backend, name) for _ in range(3)))
            assert sorted(recorder.names) == sorted(set(recorder.names))

    async def test_a_command_completes_when_its_caller_is_cancelled(
        self, open_backend: OpenBackend
    ) -> None:
        recorder = CommandRecorder()
        async with open_backend(wrap=recorder.wrap, start=False) as backend:
            if await backend.lifecycle.state() is not State.CREATED:
                pytest.skip(f"{NOT_REACHABLE}a new backend is initialized already")
            recorder.hold()
            caller = asyncio.create_task(command(backend, "initialize"))
            await wait_until(recorder.is_running, "the command reaches the driver")
            caller.cancel()
            await asyncio.gather(caller, return_exceptions=True)
            recorder.release()

            async def initialized() -> bool:
                return await backend.lifecycle.state() is State.INITIALIZED

            await wait_until(initialized, "the command takes effect")

    async def test_a_health_check_does_not_wait_for_a_command(
        self, open_backend: OpenBackend
    ) -> None:
        recorder = CommandRecorder()
        async with open_backend(wrap=recorder.wrap) as backend:
            recorder.hold()
            drain = asyncio.create_task(command(backend, "drain"))
            await wait_until(recorder.is_running, "the command reaches the driver")
            async with time_limit(5.0, "a health check during a drain"):
                await backend.lifecycle.health()
                await backend.lifecycle.state()
            assert not drain.done()
            recorder.release()
            await drain


def _expected_errors(backend: Backend, state: State) -> tuple[type[PrismError], ...]:
    if backend.level > Level.IN_PROCESS and state is State.STOPPED:
        return (IllegalTransition, BackendUnavailable, NotServing)
    return (IllegalTransition,)


async def command(backend: Backend, name: str) -> Any:
    """Give a lifecycle command by its name."""
    lifecycle = backend.lifecycle
    match name:
        case "initialize":
            return await lifecycle.initialize(backend.settings)
        case "start":
            return await lifecycle.start()
        case "drain":
            return await lifecycle.drain(_TIMEOUT)
        case "stop":
            return await lifecycle.stop(_TIMEOUT)
    raise AssertionError(name)


async def advance_to(backend: Backend, state: State) -> None:
    """Bring the backend to a later state by commands."""
    commands = {
        State.CREATED: [],
        State.INITIALIZED: ["initialize"],
        State.RUNNING: ["initialize", "start"],
        State.DRAINING: ["initialize", "start", "drain"],
        State.STOPPED: ["initialize", "start", "stop"],
    }[state]
    now = await backend.lifecycle.state()
    if now is not State.CREATED:
        # A proxy opens backends that already run.
        if state in (State.CREATED, State.INITIALIZED):
            pytest.skip(f"{NOT_REACHABLE}a new backend is {now} already")
        commands = [name for name in commands if name not in ("initialize", "start")]
    for name in commands:
        await command(backend, name)


@asynccontextmanager
async def backend_in(state: State, open_backend: OpenBackend) -> AsyncIterator[Backend]:
    """Open a backend of the test's own and advance_to it to this state."""
    wrap = _FailsToInitialize if state is State.FAILED else None
    async with open_backend(wrap=wrap, start=False) as backend:
        if state is State.FAILED:
            if await backend.lifecycle.state() is not State.CREATED:
                pytest.skip(f"{NOT_REACHABLE}a new backend is initialized already")
            with pytest.raises(BackendUnavailable):
                await backend.lifecycle.initialize(backend.settings)
        else:
            await advance_to(backend, state)
        assert await is_in(backend, state)
        yield backend


@asynccontextmanager
async def _unchanged_in(
    state: State, open_backend: OpenBackend, ended: Mapping[State, Backend]
) -> AsyncIterator[Backend]:
    """Give a backend in this state to a test that does not change it: a shared one if there is."""
    if state not in ended:
        async with backend_in(state, open_backend) as backend:
            yield backend
        return
    assert await is_in(ended[state], state)
    yield ended[state]


async def is_in(backend: Backend, state: State) -> bool:
    """Return whether the backend is in this state; a stopped server need not answer."""
    with no_answer_if_stopped(backend, state):
        return await backend.lifecycle.state() is state
    return True


@contextmanager
def no_answer_if_stopped(backend: Backend, state: State) -> Iterator[None]:
    """Accept that a server does not answer, if the expected state is stopped."""
    try:
        yield
    except (BackendUnavailable, NotServing):
        if backend.level is Level.IN_PROCESS or state is not State.STOPPED:
            raise


class _FailsToInitialize(DriverWrapper):
    async def initialize(self, settings: object) -> None:
        raise BackendUnavailable("injected by the suite: initialize fails")


class CommandRecorder:
    """Records the commands that reach a driver; each takes a few iterations of the event loop.

    Attributes:
        names: commands in order of arrival.
        running: number of commands that run now.
        max_running: largest number of commands that ran at once.
    """

    def __init__(self) -> None:
        self._released = asyncio.Event()
        self._released.set()
        self.clear()

    def clear(self) -> None:
        self.names: list[str] = []
        self.running = 0
        self.max_running = 0

    def wrap(self, driver: Driver[Never]) -> Driver[Never]:
        return _RecordedDriver(driver, self)

    def hold(self) -> None:
        self._released.clear()

    def release(self) -> None:
        self._released.set()

    async def is_running(self) -> bool:
        return self.running > 0

    @asynccontextmanager
    async def running_command(self, name: str) -> AsyncIterator[None]:
        self.names.append(name)
        self.running += 1
        self.max_running = max(self.max_running, self.running)
        try:
            for _ in range(5):
                await asyncio.sleep(0)
            await self._released.wait()
            yield
        finally:
            self.running -= 1


class _RecordedDriver(DriverWrapper):
    def __init__(self, inner: Driver[Never], recorder: CommandRecorder) -> None:
        super().__init__(inner)
        self._recorder = recorder

    async def initialize(self, settings: object) -> None:
        async with self._recorder.running_command("initialize"):
            await self.inner.initialize(settings)

    async def start(self) -> None:
        async with self._recorder.running_command("start"):
            await self.inner.start()

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        async with self._recorder.running_command("drain"):
            return await self.inner.drain(timeout)

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        async with self._recorder.running_command("stop"):
            await self.inner.stop(timeout)
