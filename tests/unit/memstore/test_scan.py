import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol

import pytest

from prism.adapters.memstore import Memstore, MemstoreSettings
from prism.adapters.memstore.scan import LEAF_KEYS, MAX_EXPIRED_PER_PAGE, KeyIndex
from prism.kit import DEFAULT_PAGE_SIZE
from prism.ports import InvalidArgument

Open = Callable[[MemstoreSettings], Awaitable[Memstore]]


class Clock(Protocol):
    def advance(self, seconds: float) -> None: ...


class Compared(str):
    """Key that counts its comparisons."""

    __slots__ = ()
    made = 0

    def __lt__(self, other: str) -> bool:
        Compared.made += 1
        return str.__lt__(self, other)

    def __gt__(self, other: str) -> bool:
        Compared.made += 1
        return str.__gt__(self, other)

    def __ge__(self, other: str) -> bool:
        Compared.made += 1
        return str.__ge__(self, other)

    __hash__ = str.__hash__


def comparisons_of_a_page(total: int) -> int:
    index = KeyIndex()
    names = [f"{i:08}" for i in range(total)]
    random.Random(1).shuffle(names)
    for name in names:
        index.add(Compared(name))
    Compared.made = 0
    walk = index.since(f"{total // 2:08}")
    assert [next(walk) for _ in range(10)] == [f"{total // 2 + i:08}" for i in range(10)]
    return Compared.made


@pytest.mark.parametrize("total", [1_000, 50_000])
def test_the_cost_of_a_page_does_not_depend_on_the_size_of_the_store(total: int) -> None:
    assert comparisons_of_a_page(total) < 2 * LEAF_KEYS * 10


def test_the_index_stays_sorted_and_balanced() -> None:
    rng = random.Random(2)
    index, model = KeyIndex(), set[str]()
    for target in (3_000, 10, 2_000, 0):
        while len(model) != target:
            key = chr(rng.randrange(0x20, 0xD800)) * rng.randrange(1, 3)
            if len(model) < target:
                index.add(key)
                model.add(key)
            else:
                gone = rng.choice(sorted(model)) if len(model) < 50 else next(iter(model))
                index.discard(gone)
                model.discard(gone)
        assert list(index.since("")) == sorted(model)
        assert all(len(leaf) <= LEAF_KEYS for leaf in index._leaves)
        assert len(index._leaves) == len(index._bounds) <= 1 + target // (LEAF_KEYS // 8)


async def test_pages_are_in_code_point_order(memstore: Memstore) -> None:
    keys = ["a", "a\x00", "a/b", "aé", "a\U0001f600", "b", "Z"]
    for key in reversed(keys):
        await memstore.set(key, key.encode())
    found: list[str] = []
    token = ""
    while True:
        page = await memstore.scan("a", page_size=2, page_token=token)
        assert page.entries is None
        found += page.keys
        token = page.next_token
        if not token:
            break
    assert found == sorted(key for key in keys if key.startswith("a"))


async def test_a_scan_continues_when_the_key_of_its_token_was_deleted(memstore: Memstore) -> None:
    for i in range(10):
        await memstore.set(str(i), b"")
    page = await memstore.scan(page_size=4)
    await memstore.delete(page.next_token)
    await memstore.set("31", b"")
    assert (await memstore.scan(page_token=page.next_token)).keys == [
        "31", "4", "5", "6", "7", "8", "9",
    ]  # fmt: skip


async def test_a_page_has_a_default_and_a_maximum_size(memstore: Memstore) -> None:
    for i in range(2000):
        await memstore.set(f"{i:04}", b"")
    assert len((await memstore.scan()).keys) == DEFAULT_PAGE_SIZE
    assert len((await memstore.scan(page_size=5000)).keys) == 1000


async def test_a_page_that_ends_with_the_last_key_has_no_token(memstore: Memstore) -> None:
    await memstore.set("a1", b"")
    await memstore.set("b1", b"")
    assert (await memstore.scan("a", page_size=1)).next_token == ""


async def test_a_page_with_values_ends_at_the_limit_on_bytes(open_memstore: Open) -> None:
    memstore = await open_memstore(MemstoreSettings(max_value_bytes=8 << 20))
    for key, size in (("a", 3 << 20), ("b", 2 << 20), ("c", 5 << 20), ("d", 1), ("e", 1)):
        await memstore.set(key, bytes(size))
    pages: list[list[str]] = []
    token = ""
    while not pages or token:
        page = await memstore.scan(page_token=token, values=True)
        assert page.entries is not None
        assert len(page.entries) == len(page.keys)
        pages.append(list(page.keys))
        token = page.next_token
    assert pages == [["a"], ["b"], ["c"], ["d", "e"]]


async def test_a_page_ends_after_many_expired_keys(memstore: Memstore, clock: Clock) -> None:
    for i in range(MAX_EXPIRED_PER_PAGE * 2 + 500):
        await memstore.set(f"{i:05}", b"", ttl=timedelta(seconds=1))
    await memstore.set("last", b"")
    clock.advance(2)
    pages: list[list[str]] = []
    token = ""
    while not pages or token:
        page = await memstore.scan(page_token=token)
        pages.append(list(page.keys))
        token = page.next_token
    assert pages == [[], [], ["last"]]


async def test_a_token_of_another_prefix_is_refused(memstore: Memstore) -> None:
    with pytest.raises(InvalidArgument):
        await memstore.scan("a", page_token="b")
