from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from prism.adapters.memstore import Memstore, MemstoreSettings


class Clock:
    """Clock in seconds that only a test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def open_memstore(
    clock: Clock,
) -> AsyncIterator[Callable[[MemstoreSettings], Awaitable[Memstore]]]:
    opened: list[Memstore] = []

    async def open_with(settings: MemstoreSettings) -> Memstore:
        memstore = Memstore(clock=clock)
        opened.append(memstore)
        await memstore.initialize(settings)
        await memstore.start()
        return memstore

    yield open_with
    for memstore in opened:
        await memstore.stop()


@pytest.fixture
async def memstore(
    open_memstore: Callable[[MemstoreSettings], Awaitable[Memstore]],
) -> Memstore:
    return await open_memstore(MemstoreSettings())
