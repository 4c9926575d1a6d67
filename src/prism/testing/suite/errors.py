"""Group errors: what is refused, and what a refusal or a cancelled call leaves behind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from prism.ports import (
    BackendUnavailable,
    Capability,
    Entry,
    FullKeyValue,
    Internal,
    InvalidArgument,
    NotServing,
    Outcome,
    PrismError,
    Put,
    Version,
    VersionConflict,
)
from prism.testing.suite.backend import Backend, Level, OpenBackend
from prism.testing.suite.cancellation import Cancellation
from prism.testing.suite.group import NOT_REACHABLE, group, needs
from prism.testing.suite.operations import EVERY_KEYED_OPERATION, EVERY_OPERATION, SampleOperation
from prism.testing.suite.timing import time_limit
from prism.testing.suite.wrapper import DriverCapture, DriverWrapper

BAD_KEYS = {
    "empty": "",
    "1025 bytes": "k" * 1025,
    "1025 bytes of many-byte characters": "é" * 512 + "k",
    "513 characters of two bytes": "é" * 513,
    "lone high surrogate": "a\ud83d",
    "lone low surrogate": "\udd11a",
    "surrogates the wrong way round": "\udd11\ud83d",
}

_ANSWER_SECONDS = 10.0


@group()
class Errors(Cancellation):
    """The same errors for every operation, and nothing left behind by them."""

    @EVERY_KEYED_OPERATION
    @pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS.keys())
    async def test_a_bad_key_is_refused(
        self, backend: Backend, operation: SampleOperation, key: str
    ) -> None:
        operation.skip_unless_declared_by(backend.profile)
        with pytest.raises(InvalidArgument) as refusal:
            await operation.call(backend.kv, key)
        assert refusal.value.message
        if operation.spec.writes:
            assert refusal.value.outcome is Outcome.NOT_APPLIED

    @EVERY_OPERATION
    async def test_a_key_of_1024_bytes_is_accepted_by_every_operation(
        self, backend: Backend, prefix: str, operation: SampleOperation
    ) -> None:
        operation.skip_unless_declared_by(backend.profile)
        key = prefix + "é" * ((1024 - len(prefix)) // 2)
        key += "k" * (1024 - len(key.encode()))
        try:
            await operation.call(backend.kv, key)
        except VersionConflict:
            # From set_if_version on an absent key: the key itself was accepted.
            assert operation.spec.capability is Capability.COMPARE_AND_SET

    async def test_a_refusal_leaves_the_connection_usable(self, backend: Backend, key: str) -> None:
        for bad in BAD_KEYS.values():
            with pytest.raises(InvalidArgument):
                await backend.kv.set(bad, b"value")
            await backend.kv.set(key, bad.encode("utf-8", "surrogatepass"))
            entry = await backend.kv.get(key)
            assert entry is not None
            assert entry.value == bad.encode("utf-8", "surrogatepass")

    @needs(Capability.BATCH)
    async def test_a_refused_item_leaves_the_connection_usable(
        self, backend: Backend, key: str
    ) -> None:
        over = bytes(backend.profile.limits.max_value_bytes + 1)
        for _ in range(3):
            outcomes = await _set_many(backend.kv, [Put("", b""), Put(key, over), Put(key, b"1")])
            assert [isinstance(outcome, PrismError) for outcome in outcomes] == [True, True, False]
            assert await backend.kv.exists(key) is True

    async def test_an_unexpected_driver_error_reveals_no_detail(
        self, open_backend: OpenBackend, key: str
    ) -> None:
        async with open_backend(wrap=_Defective) as backend:
            if backend.level is Level.IN_PROCESS:
                pytest.skip(f"{NOT_REACHABLE}errors are mapped where the wire begins")
            with pytest.raises(Internal) as failure:
                await backend.kv.get(key)
            assert "hunter2" not in failure.value.message
            assert failure.value.outcome is Outcome.UNKNOWN
            # The next call works.
            assert await backend.kv.exists(key) is False

    # After a stop: an error, never a hang

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def stopped(cls, open_backend: OpenBackend) -> AsyncIterator[Backend]:
        """A stopped backend, shared because a new one may take seconds to start."""
        async with open_backend() as backend:
            await backend.lifecycle.stop()
            yield backend

    @EVERY_OPERATION
    async def test_a_stopped_backend_raises_an_error(
        self, stopped: Backend, key: str, operation: SampleOperation
    ) -> None:
        operation.skip_unless_declared_by(stopped.profile)
        async with time_limit(_ANSWER_SECONDS, f"{operation} of a closed driver"):
            with pytest.raises((NotServing, BackendUnavailable)):
                await operation.call(stopped.kv, key)

    @EVERY_OPERATION
    async def test_a_closed_driver_raises_an_error(
        self, open_backend: OpenBackend, key: str, operation: SampleOperation
    ) -> None:
        # Not through the gateway, which would refuse by itself.
        driver = DriverCapture()
        async with open_backend(wrap=driver.capture) as backend:
            operation.skip_unless_declared_by(backend.profile)
            await backend.lifecycle.stop()
            async with time_limit(_ANSWER_SECONDS, f"{operation} of a closed driver"):
                with pytest.raises(PrismError):
                    await operation.call(driver.driver, key)

    async def test_closing_a_driver_twice_is_safe(self, open_backend: OpenBackend) -> None:
        driver = DriverCapture()
        async with open_backend(wrap=driver.capture) as backend:
            await backend.lifecycle.stop()
            async with time_limit(_ANSWER_SECONDS, "stop of a driver"):
                await driver.driver.stop()
                await driver.driver.stop()

    async def test_a_driver_that_was_never_initialized_can_be_stopped(
        self, open_backend: OpenBackend
    ) -> None:
        driver = DriverCapture()
        async with (
            open_backend(wrap=driver.capture, start=False),
            time_limit(_ANSWER_SECONDS),
        ):
            await driver.driver.stop()


class _Defective(DriverWrapper):
    async def get(self, key: str) -> Entry | None:
        raise ZeroDivisionError("password=hunter2")


async def _set_many(kv: FullKeyValue, puts: list[Put]) -> list[Version | PrismError]:
    return list(await kv.set_many(puts))
