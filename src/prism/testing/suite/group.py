"""Base class of every group of tests: shared fixtures, and the decorators that prepare tests."""

from __future__ import annotations

import functools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeAlias, TypeVar

import pytest
import pytest_asyncio

from prism.ports import Capability, FullKeyValue
from prism.testing.suite.backend import Backend, OpenBackend
from prism.testing.suite.busy import repeated_if_busy
from prism.testing.suite.calls import CallWatch
from prism.testing.suite.timing import Clock, TimeLimitExceeded, time_limit, timeouts_scaled_by

P = ParamSpec("P")
Test: TypeAlias = Callable[Concatenate[Any, P], Awaitable[None]]
ClassT = TypeVar("ClassT", bound=type)
TestT = TypeVar("TestT", bound=Callable[..., object])

UNSUPPORTED = "unsupported by declaration: "
NOT_REACHABLE = "not reachable at this level: "

_TEST_SECONDS = 30.0
_CLOSE_SECONDS = 10.0


class Group:
    """Fixtures that the tests share.

    The author of a driver supplies one more, `open_backend`, of class scope or wider.
    The store may hold other keys and may be shared, so each test uses keys of its own.

    Attributes:
        timeout_factor: multiplies every time limit; raise it on a slow machine.
    """

    timeout_factor: ClassVar[float] = 1.0

    _test_hung: ClassVar[bool] = False
    """Whether a test exceeded a time limit, so that the backend may be unusable."""

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def shared_backend(cls, open_backend: OpenBackend) -> AsyncIterator[SharedBackend]:
        """The backend of a class, and the means to replace it."""
        shared = SharedBackend(open_backend)
        await shared.open()
        try:
            yield shared
        finally:
            await shared.close()

    @pytest_asyncio.fixture(loop_scope="class")
    async def backend(self, shared_backend: SharedBackend) -> Backend:
        """A running backend, shared by the tests of a class: no test may stop it."""
        if type(self)._test_hung or shared_backend.calls.hung:
            type(self)._test_hung = False
            await shared_backend.replace()
        return shared_backend.backend

    @pytest.fixture
    def kv(self, backend: Backend) -> FullKeyValue:
        return backend.kv

    @pytest.fixture
    def clock(self, backend: Backend) -> Clock:
        return Clock.of(backend.profile)

    @pytest.fixture
    def prefix(self) -> str:
        """A prefix that no other test uses."""
        return f"{uuid.uuid4().hex[:16]}/"

    @pytest.fixture
    def key(self, prefix: str) -> str:
        """A key under `prefix` that is absent."""
        return f"{prefix}key"

    @pytest.fixture
    def needs_ttl(self, backend: Backend) -> None:
        skip_unless_declared(backend, Capability.TTL)

    @pytest.fixture
    def needs_compare_and_set(self, backend: Backend) -> None:
        skip_unless_declared(backend, Capability.COMPARE_AND_SET)

    @pytest.fixture
    def needs_batch(self, backend: Backend) -> None:
        skip_unless_declared(backend, Capability.BATCH)

    @pytest.fixture
    def needs_scan(self, backend: Backend) -> None:
        skip_unless_declared(backend, Capability.SCAN)

    @pytest.fixture
    def needs_counter(self, backend: Backend) -> None:
        skip_unless_declared(backend, Capability.COUNTER)

    @pytest.fixture
    def needs_watch(self, backend: Backend) -> None:
        skip_unless_declared(backend, Capability.WATCH)

    @pytest.fixture
    def needs_transactions(self, backend: Backend) -> None:
        skip_unless_declared(backend, Capability.TRANSACTIONS)


class SharedBackend:
    """Backend that many tests use, and that is replaced when one of them has hung.

    Otherwise a driver that never releases a lock would fail every later test, slowly.

    Attributes:
        backend: the backend; each of its calls has a time limit.
        calls: what is known of these calls.
    """

    backend: Backend
    calls: CallWatch

    def __init__(self, open_backend: OpenBackend) -> None:
        self._open_backend = open_backend
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        """Open the backend."""
        backend = await self._stack.enter_async_context(self._open_backend())
        self.calls = CallWatch()
        self.backend = replace(backend, kv=self.calls.wrap(backend.kv))

    async def close(self) -> None:
        """Close the backend."""
        await self._stack.aclose()

    async def replace(self) -> None:
        """Close the backend, whether or not it lets itself be closed, and open a new one."""
        with suppress(Exception):
            async with time_limit(_CLOSE_SECONDS, "closing the backend after a test that hung"):
                await self.close()
        self._stack = AsyncExitStack()
        await self.open()


def skip_unless_declared(backend: Backend, capability: Capability) -> None:
    """Skip the test unless the backend declares the capability."""
    if capability not in backend.profile.capabilities:
        pytest.skip(f"{UNSUPPORTED}{backend.profile.driver} has no {capability}")


def needs(*capabilities: Capability) -> pytest.MarkDecorator:
    """Skip the test unless these capabilities, besides that of its group, are declared."""
    return pytest.mark.usefixtures(*(f"needs_{each}" for each in capabilities))


def runs_without_capability(test: TestT) -> TestT:
    """Run the test even where the capability of its group is not declared."""
    test.runs_without_capability = True  # type: ignore[attr-defined]
    return test


def group(
    capability: Capability | None = None, *, time_limit_seconds: float = _TEST_SECONDS
) -> Callable[[ClassT], ClassT]:
    """Prepare the tests of a class: coroutines with a time limit and a required capability.

    The marks are explicit, so that an author's project needs no setting of pytest-asyncio.

    Args:
        capability: tests are skipped where this is not declared; None: they always run.
        time_limit_seconds: limit of each test, scaled by `timeout_factor`.
    """

    def prepare(cls: ClassT) -> ClassT:
        for name, test in list(vars(cls).items()):
            if not name.startswith("test_"):
                continue
            limited = _with_time_limit(test, time_limit_seconds)
            prepared = pytest.mark.asyncio(loop_scope="class")(limited)
            if capability and not hasattr(test, "runs_without_capability"):
                prepared = needs(capability)(prepared)
            setattr(cls, name, prepared)
        return cls

    return prepare


async def _run_limited(test: Awaitable[None], seconds: float) -> None:
    async with time_limit(seconds):
        await test


def _with_time_limit(test: Test[P], seconds: float) -> Test[P]:
    """Limit the test, so that a backend that hangs fails one test and not the whole run."""

    @functools.wraps(test)
    async def limited(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> None:
        with timeouts_scaled_by(self.timeout_factor):
            try:
                await repeated_if_busy(
                    lambda given: _run_limited(test(self, *args, **given), seconds), kwargs
                )
            except TimeLimitExceeded:
                type(self)._test_hung = True
                raise

    return limited
