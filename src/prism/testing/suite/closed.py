"""Group Errors: after the end, an error and no waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from prism.ports import BackendUnavailable, NotServing, PrismError
from prism.testing.suite.backend import Backend, OpenBackend
from prism.testing.suite.group import Group, group
from prism.testing.suite.operations import EVERY_OPERATION, SampleOperation
from prism.testing.suite.timing import time_limit
from prism.testing.suite.wrapper import DriverCapture

_HANGS_AFTER_SECONDS = 10.0


@group()
class Closed(Group):
    """A closed driver answers with an error, never hangs."""

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def stopped(cls, open_backend: OpenBackend) -> AsyncIterator[Backend]:
        """A stopped backend, shared, as a new one may take seconds to start."""
        async with open_backend() as backend:
            await backend.lifecycle.stop()
            yield backend

    @EVERY_OPERATION
    async def test_a_stopped_backend_answers_with_an_error(
        self, stopped: Backend, key: str, operation: SampleOperation
    ) -> None:
        operation.skip_unless_declared_by(stopped.profile)
        async with time_limit(_HANGS_AFTER_SECONDS):
            with pytest.raises((NotServing, BackendUnavailable)):
                await operation.call(stopped.kv, key)

    @EVERY_OPERATION
    async def test_a_closed_driver_answers_with_an_error(
        self, open_backend: OpenBackend, key: str, operation: SampleOperation
    ) -> None:
        # Past the gateway, which would refuse by itself.
        driver = DriverCapture()
        async with open_backend(wrap=driver.capture) as backend:
            operation.skip_unless_declared_by(backend.profile)
            await backend.lifecycle.stop()
            async with time_limit(_HANGS_AFTER_SECONDS):
                with pytest.raises(PrismError):
                    await operation.call(driver.driver, key)

    async def test_closing_a_driver_twice_is_safe(self, open_backend: OpenBackend) -> None:
        driver = DriverCapture()
        async with open_backend(wrap=driver.capture) as backend:
            await backend.lifecycle.stop()
            async with time_limit(_HANGS_AFTER_SECONDS):
                await driver.driver.stop()
                await driver.driver.stop()

    async def test_a_driver_that_was_never_opened_can_be_closed(
        self, open_backend: OpenBackend
    ) -> None:
        driver = DriverCapture()
        async with (
            open_backend(wrap=driver.capture, start=False),
            time_limit(_HANGS_AFTER_SECONDS),
        ):
            await driver.driver.stop()
