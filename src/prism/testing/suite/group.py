"""What every group of the suite is made of: fixtures, and how a test is prepared."""

from __future__ import annotations

import functools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeAlias, TypeVar

import pytest
import pytest_asyncio

from prism.ports import Capability, FullKeyValue
from prism.testing.suite.backend import Backend, OpenBackend
from prism.testing.suite.clock import Clock
from prism.testing.suite.patience import bounded, patience

P = ParamSpec("P")
Test: TypeAlias = Callable[Concatenate[Any, P], Awaitable[None]]
ClassT = TypeVar("ClassT", bound=type)
TestT = TypeVar("TestT", bound=Callable[..., Any])

UNSUPPORTED = "unsupported by declaration: "
NOT_REACHABLE = "not reachable at this level: "

_HANGS_AFTER_SECONDS = 60.0


class Group:
    """Fixtures that the tests share.

    They need one more, `open_backend`, which the author of a driver supplies with
    the scope of a class or wider. The store may hold anything and may be shared:
    a test works on keys of its own.
    """

    patience: ClassVar[float] = 1.0
    """Factor of every wait for what should come at once: raise it where the machine is slow."""

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def backend(cls, open_backend: OpenBackend) -> AsyncIterator[Backend]:
        """A running backend, shared by the tests of a class: no test stops it."""
        async with open_backend() as backend:
            yield backend

    @pytest.fixture
    def kv(self, backend: Backend) -> FullKeyValue:
        return backend.kv

    @pytest.fixture
    def clock(self, backend: Backend) -> Clock:
        return Clock.of(backend.profile)

    @pytest.fixture
    def prefix(self) -> str:
        """What the keys of this test begin with, and no other's do."""
        return f"{uuid.uuid4().hex[:16]}/"

    @pytest.fixture
    def key(self, prefix: str) -> str:
        """A key that is absent."""
        return f"{prefix}key"

    @pytest.fixture
    def needs_ttl(self, backend: Backend) -> None:
        _skip_unless_declared(backend, Capability.TTL)

    @pytest.fixture
    def needs_compare_and_set(self, backend: Backend) -> None:
        _skip_unless_declared(backend, Capability.COMPARE_AND_SET)

    @pytest.fixture
    def needs_batch(self, backend: Backend) -> None:
        _skip_unless_declared(backend, Capability.BATCH)

    @pytest.fixture
    def needs_scan(self, backend: Backend) -> None:
        _skip_unless_declared(backend, Capability.SCAN)

    @pytest.fixture
    def needs_counter(self, backend: Backend) -> None:
        _skip_unless_declared(backend, Capability.COUNTER)

    @pytest.fixture
    def needs_watch(self, backend: Backend) -> None:
        _skip_unless_declared(backend, Capability.WATCH)


def _skip_unless_declared(backend: Backend, capability: Capability) -> None:
    if capability not in backend.profile.capabilities:
        pytest.skip(f"{UNSUPPORTED}{backend.profile.driver} has no {capability}")


def needs(*capabilities: Capability) -> Callable[[TestT], TestT]:
    """The test uses these capabilities besides that of its group."""
    return pytest.mark.usefixtures(*(f"needs_{each}" for each in capabilities))


def whatever_is_declared(test: TestT) -> TestT:
    """The test runs also where the capability of its group is not declared."""
    test.whatever_is_declared = True  # type: ignore[attr-defined]
    return test


def group(
    capability: Capability | None = None, *, hangs_after_seconds: float = _HANGS_AFTER_SECONDS
) -> Callable[[ClassT], ClassT]:
    """Prepare the tests of a class: all are coroutines, and need its capability."""

    def prepare(cls: ClassT) -> ClassT:
        for name, test in list(vars(cls).items()):
            if not name.startswith("test_"):
                continue
            prepared = pytest.mark.asyncio(loop_scope="class")(_patient(test, hangs_after_seconds))
            if capability and not hasattr(test, "whatever_is_declared"):
                prepared = needs(capability)(prepared)
            setattr(cls, name, prepared)
        return cls

    return prepare


def _patient(test: Test[P], seconds: float) -> Test[P]:
    """A backend that hangs fails one test, and does not hold up the rest."""

    @functools.wraps(test)
    async def patient(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> None:
        with patience(self.patience):
            async with bounded(seconds):
                await test(self, *args, **kwargs)

    return patient
