"""A proxy returns the answers of its patterns unchanged."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from prism.adapters.memstore import Memstore
from prism.ports import (
    Count,
    Entry,
    Exhausted,
    InvalidArgument,
    Limits,
    NotServing,
    Outcome,
    Persisted,
    PreconditionFailed,
    PrismError,
    Profile,
    Put,
    Unsupported,
    Version,
    VersionConflict,
)
from tests.integration.forwarding.fakes import Proxy

# Both as operations of a stream and as unary calls.
WAYS = pytest.mark.parametrize("streams", [True, False], ids=["stream", "unary"])


@WAYS
async def test_versions_values_and_expiry_are_forwarded_unchanged(
    proxy: Proxy, streams: bool
) -> None:
    kv = proxy.client(streams=streams)
    version = await kv.set("k", b"v", ttl=timedelta(seconds=100))
    own = await proxy.a.driver.get("k")
    assert own is not None
    assert own.version == version
    assert await kv.get("k") == own
    lifetime = await kv.ttl("k")
    assert lifetime is not None
    assert lifetime.remaining is not None
    assert timedelta(seconds=90) < lifetime.remaining <= timedelta(seconds=100)
    assert await kv.persist("k") is Persisted.EXPIRY_REMOVED
    assert await kv.expire("k", timedelta(seconds=5))
    assert await kv.compare_and_set("k", b"w", expected=version)
    assert await kv.exists("k")
    assert await kv.delete("k")
    assert await kv.get("k") is None
    count = await kv.increment("n", 3)
    assert count == Count(3, count.version)


@WAYS
async def test_batches_keep_the_order_and_errors_of_their_items(
    proxy: Proxy, streams: bool
) -> None:
    kv = proxy.client(streams=streams)
    written = await kv.set_many([Put("a", b"1"), Put("", b"2"), Put("c", b"3")])
    assert isinstance(written[1], InvalidArgument)
    read = await kv.get_many(["c", "", "absent", "a"])
    assert [type(outcome) for outcome in read] == [Entry, InvalidArgument, type(None), Entry]
    assert isinstance(read[0], Entry)
    assert read[0].version == written[2]
    assert await kv.delete_many(["a", "absent"]) == [True, False]


@WAYS
async def test_scan_pages_continue_and_the_token_of_another_scan_is_refused(
    proxy: Proxy, streams: bool
) -> None:
    kv = proxy.client(streams=streams)
    await kv.set_many([Put(f"k{number}", b"v") for number in range(10)])
    keys: list[str] = []
    token = ""
    while True:
        page = await kv.scan("k", page_size=3, page_token=token)
        keys += page.keys
        if not page.next_token:
            break
        token = page.next_token
    assert sorted(keys) == [f"k{number}" for number in range(10)]
    with pytest.raises(InvalidArgument, match="another scan"):
        await kv.scan("other", page_size=3, page_token=token)


@WAYS
async def test_scan_continues_after_a_new_process_of_the_pattern_takes_over(
    proxy: Proxy, streams: bool
) -> None:
    kv = proxy.client(streams=streams)
    await kv.set_many([Put(f"k{number}", b"v") for number in range(4)])
    page = await kv.scan("k", page_size=2)
    await proxy.a.launch()
    await kv.set_many([Put(f"k{number}", b"v") for number in range(4)])
    rest = await kv.scan("k", page_size=2, page_token=page.next_token)
    assert sorted([*page.keys, *rest.keys]) == [f"k{number}" for number in range(4)]


class Refusing(Memstore):
    """Memstore whose set fails with the error that its key names."""

    errors: dict[str, PrismError] = {  # noqa: RUF012
        "reason": PreconditionFailed("it is no number", reason="NOT_A_NUMBER"),
        "unknown": NotServing("it was aborted", outcome=Outcome.UNKNOWN),
        "applied not": Exhausted("memory is full", outcome=Outcome.NOT_APPLIED),
        "conflict": VersionConflict("another was quicker"),
    }

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        raise self.errors[key]


@WAYS
@pytest.mark.parametrize("key", Refusing.errors)
async def test_errors_are_forwarded_with_class_message_reason_and_outcome(
    idle: Proxy, streams: bool, key: str
) -> None:
    await idle.a.launch(Refusing)
    await idle.serve()
    expected = Refusing.errors[key]
    with pytest.raises(type(expected)) as failure:
        await idle.client(streams=streams).set(key, b"v")
    error = failure.value
    assert (error.message, error.reason, error.outcome) == (
        expected.message,
        expected.reason,
        expected.outcome,
    )


async def test_profile_of_the_pattern_is_forwarded(idle: Proxy) -> None:
    await idle.a.launch(limits=Limits(max_value_bytes=1000))
    await idle.b.launch()
    await idle.serve()
    profile = await idle.client().fetch_profile()
    assert profile.driver == "memstore"
    assert profile.ephemeral
    assert profile.version_kind == idle.a.driver.profile.version_kind
    assert profile.capabilities == idle.a.driver.profile.capabilities
    assert profile.limits.max_value_bytes == 1000
    other = await idle.client(pattern="b").fetch_profile()
    assert other.limits.max_value_bytes > 1000


@WAYS
async def test_value_over_the_limit_of_the_pattern_is_refused_with_that_limit(
    idle: Proxy, streams: bool
) -> None:
    await idle.a.launch(limits=Limits(max_value_bytes=1000))
    await idle.serve()
    with pytest.raises(InvalidArgument, match="1,000"):
        await idle.client(streams=streams).set("k", bytes(1001))


async def test_large_value_passes_in_both_directions(proxy: Proxy) -> None:
    kv = proxy.client()
    await kv.set("k", bytes(1 << 20))
    entry = await kv.get("k")
    assert entry is not None
    assert entry.value == bytes(1 << 20)


class Plain(Memstore):
    """Memstore without capabilities."""

    @property
    def profile(self) -> Profile:
        return replace(super().profile, capabilities={})


async def test_capability_that_the_driver_lacks_is_unsupported(idle: Proxy) -> None:
    await idle.a.launch(Plain)
    await idle.serve()
    with pytest.raises(Unsupported, match="memstore"):
        await idle.client().increment("n")
