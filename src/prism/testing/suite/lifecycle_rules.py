"""Group Lifecycle: the table of states and commands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from prism.ports import (
    BackendUnavailable,
    Health,
    HealthStatus,
    IllegalTransition,
    NotServing,
    PrismError,
    State,
)
from prism.testing.suite.backend import Backend, Level, OpenBackend
from prism.testing.suite.draining import Draining
from prism.testing.suite.group import group
from prism.testing.suite.operations import EVERY_OPERATION, SampleOperation
from prism.testing.suite.ordering import Ordering
from prism.testing.suite.states import LEADS_TO, bring, command, is_in, nobody_left, opened_in

ALLOWED = {
    "initialize": {State.CREATED, State.INITIALIZED},
    "start": {State.INITIALIZED, State.RUNNING},
    "drain": {State.RUNNING, State.DRAINING},
    "stop": set(State),
}

BEGINS_IN = {
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


@group()
class LifecycleRules(Draining, Ordering):
    """created → initialized → running → draining → stopped, and failed."""

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def drained(cls, open_backend: OpenBackend) -> AsyncIterator[Backend]:
        """A draining backend, shared, as a new one may take seconds to start."""
        async with opened_in(State.DRAINING, open_backend) as backend:
            yield backend

    @pytest.mark.parametrize(("name", "state"), PERMITTED)
    async def test_a_command_leads_to_its_state(
        self, open_backend: OpenBackend, name: str, state: State
    ) -> None:
        async with opened_in(state, open_backend) as backend:
            with nobody_left(backend, state):
                await command(backend, name)
            assert await is_in(backend, LEADS_TO[name])

    @pytest.mark.parametrize("name", ALLOWED)
    async def test_repeating_a_command_succeeds(self, open_backend: OpenBackend, name: str) -> None:
        async with opened_in(BEGINS_IN[name], open_backend) as backend:
            await command(backend, name)
            for _ in range(2):
                with nobody_left(backend, LEADS_TO[name]):
                    await command(backend, name)
            assert await is_in(backend, LEADS_TO[name])

    @pytest.mark.parametrize(("name", "state"), FORBIDDEN)
    async def test_a_command_from_a_wrong_state_is_refused_and_names_both(
        self, open_backend: OpenBackend, name: str, state: State
    ) -> None:
        async with opened_in(state, open_backend) as backend:
            with pytest.raises(_refusals(backend, state)) as refusal:
                await command(backend, name)
            if isinstance(refusal.value, IllegalTransition):
                assert str(state) in refusal.value.message
                assert str(LEADS_TO[name]) in refusal.value.message
                assert await is_in(backend, state)

    async def test_initialize_again_with_other_settings_is_refused(
        self, open_backend: OpenBackend
    ) -> None:
        async with opened_in(State.INITIALIZED, open_backend) as backend:
            with pytest.raises(IllegalTransition):
                await backend.lifecycle.initialize({**backend.settings, "another": "setting"})
            await backend.lifecycle.initialize(backend.settings)
            assert await backend.lifecycle.state() is State.INITIALIZED

    async def test_an_unknown_setting_is_refused_and_named(self, open_backend: OpenBackend) -> None:
        async with opened_in(State.CREATED, open_backend) as backend:
            with pytest.raises(PrismError, match="no-such-setting"):
                await backend.lifecycle.initialize({**backend.settings, "no-such-setting": "1"})
            assert await backend.lifecycle.state() is State.FAILED

    async def test_a_failed_command_shows_in_state_and_health(
        self, open_backend: OpenBackend
    ) -> None:
        async with opened_in(State.FAILED, open_backend) as backend:
            health = await backend.lifecycle.health()
            assert health.status is HealthStatus.UNHEALTHY
            assert "the suite refuses" in health.message

    async def test_only_stop_leaves_failed(self, open_backend: OpenBackend) -> None:
        async with opened_in(State.FAILED, open_backend) as backend:
            for name in ("initialize", "start", "drain"):
                with pytest.raises(IllegalTransition):
                    await command(backend, name)
            assert await backend.lifecycle.state() is State.FAILED
            await backend.lifecycle.stop()
            assert await is_in(backend, State.STOPPED)

    @EVERY_STATE
    async def test_health_answers_in_every_state(
        self, open_backend: OpenBackend, state: State
    ) -> None:
        async with opened_in(state, open_backend) as backend:
            try:
                health = await backend.lifecycle.health()
            except (BackendUnavailable, NotServing):
                # A server that stopped has nobody left to answer.
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
        self, open_backend: OpenBackend, key: str, state: State
    ) -> None:
        async with opened_in(state, open_backend) as backend:
            with pytest.raises((NotServing, BackendUnavailable)) as refusal:
                await backend.kv.get(key)
            if backend.level is Level.IN_PROCESS or state is not State.STOPPED:
                assert isinstance(refusal.value, NotServing)

    @EVERY_OPERATION
    async def test_every_operation_is_refused_while_draining(
        self, drained: Backend, key: str, operation: SampleOperation
    ) -> None:
        operation.skip_unless_declared_by(drained.profile)
        with pytest.raises(NotServing) as refusal:
            await operation.call(drained.kv, key)
        assert refusal.value.reason == "NOT_SERVING"

    async def test_the_profile_is_whole_once_initialized(self, open_backend: OpenBackend) -> None:
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

    async def test_a_whole_life(self, open_backend: OpenBackend, key: str) -> None:
        async with open_backend(start=False) as backend:
            await bring(backend, State.RUNNING)
            await backend.kv.set(key, b"value")
            entry = await backend.kv.get(key)
            assert entry is not None
            assert entry.value == b"value"
            report = await backend.lifecycle.drain(timedelta(seconds=5))
            assert report.aborted == 0
            await backend.lifecycle.stop()


def _refusals(backend: Backend, state: State) -> tuple[type[PrismError], ...]:
    if backend.level > Level.IN_PROCESS and state is State.STOPPED:
        return (IllegalTransition, BackendUnavailable, NotServing)
    return (IllegalTransition,)
