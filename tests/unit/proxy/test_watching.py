from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from prism.adapters.grpc.servicers.lifecycle import AdminGuard
from prism.adapters.grpc.servicers.proxy_admin import UNREAD, ProxyAdminServicer
from prism.domain.patterns.supervisor import Supervisor
from prism.domain.patterns.values import EventKind, PatternSpec
from prism.ports import AccessDenied, InvalidArgument, PreconditionFailed, WatchEnded
from prism.v1 import proxy_pb2 as pb


class Anybody:
    """A call that shows nothing."""

    connection = ""
    timeout_s = None
    pattern = ""

    def metadata(self, name: str) -> str | None:
        return None


async def once(request: pb.WatchPatternsRequest) -> AsyncIterator[pb.WatchPatternsRequest]:
    yield request


def servicer_of(patterns: Supervisor, *, required: bool = False) -> ProxyAdminServicer:
    return ProxyAdminServicer(patterns, AdminGuard(None, required=required), lambda _spec: None)


async def test_what_is_remembered_comes_first_and_then_what_happens(patterns: Supervisor) -> None:
    patterns.journal.add("a", EventKind.LAUNCHED, "one")
    request = pb.WatchPatternsRequest()
    async with aclosing(servicer_of(patterns).watch_patterns(once(request), Anybody())) as replies:
        assert (await anext(replies)).event.message == "one"
        patterns.journal.add("b", EventKind.LAUNCHED, "two")
        assert (await anext(replies)).event.message == "two"


async def test_of_one_pattern_nothing_is_told_of_another(patterns: Supervisor) -> None:
    patterns.journal.add("a", EventKind.LAUNCHED, "one")
    patterns.journal.add("b", EventKind.LAUNCHED, "two")
    request = pb.WatchPatternsRequest(name="b")
    async with aclosing(servicer_of(patterns).watch_patterns(once(request), Anybody())) as replies:
        assert (await anext(replies)).event.message == "two"
        patterns.journal.add("a", EventKind.LAUNCHED, "three")
        patterns.journal.add("b", EventKind.LAUNCHED, "four")
        assert (await anext(replies)).event.message == "four"


async def test_a_reader_that_is_too_slow_loses_its_stream_and_no_event_before(
    patterns: Supervisor,
) -> None:
    patterns.journal.add("a", EventKind.LAUNCHED, "first")
    replies = servicer_of(patterns).watch_patterns(once(pb.WatchPatternsRequest()), Anybody())
    async with aclosing(replies):
        await anext(replies)
        for number in range(UNREAD + 1):
            patterns.journal.add("a", EventKind.HEALTH, str(number))
        read = [(await anext(replies)).event.message for _ in range(UNREAD)]
        assert read == [str(number) for number in range(UNREAD)]
        with pytest.raises(WatchEnded, match="1,000 events waited for their reader"):
            await anext(replies)


async def test_whoever_has_enough_is_forgotten(patterns: Supervisor) -> None:
    patterns.journal.add("a", EventKind.LAUNCHED, "first")
    replies = servicer_of(patterns).watch_patterns(once(pb.WatchPatternsRequest()), Anybody())
    await anext(replies)
    assert len(patterns.journal._subscribers) == 1
    await replies.aclose()
    assert not patterns.journal._subscribers


async def test_an_unknown_or_empty_name_is_refused(patterns: Supervisor) -> None:
    servicer = servicer_of(patterns)
    with pytest.raises(PreconditionFailed, match="no pattern 'c'; there are: a, b") as refused:
        await servicer.get_pattern(pb.GetPatternRequest(name="c"), Anybody())
    assert refused.value.reason == "UNKNOWN_PATTERN"
    with pytest.raises(InvalidArgument, match="name is empty"):
        await servicer.drain_pattern(pb.DrainPatternRequest(), Anybody())


async def test_every_call_is_for_administrators_alone(patterns: Supervisor) -> None:
    servicer = servicer_of(patterns, required=True)
    replies = servicer.watch_patterns(once(pb.WatchPatternsRequest()), Anybody())
    with pytest.raises(AccessDenied):
        await anext(replies)
    for call in (
        servicer.list_patterns(pb.ListPatternsRequest(), Anybody()),
        servicer.get_pattern(pb.GetPatternRequest(name="c"), Anybody()),
        servicer.restart_pattern(pb.RestartPatternRequest(name="c"), Anybody()),
        servicer.drain_pattern(pb.DrainPatternRequest(name="c"), Anybody()),
        servicer.replace_pattern(pb.ReplacePatternRequest(name="c"), Anybody()),
    ):
        with pytest.raises(AccessDenied):
            await call


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (
            pb.ReplacePatternRequest(name="a", settings={"max_bytes": "1"}),
            PatternSpec("a", "memstore", {"max_keys": "10", "max_bytes": "1"}),
        ),
        (
            pb.ReplacePatternRequest(name="a", driver="memstore", settings={"max_keys": "2"}),
            PatternSpec("a", "memstore", {"max_keys": "2"}),
        ),
        (
            pb.ReplacePatternRequest(name="a", driver="redis", settings={"url": "x"}),
            PatternSpec("a", "redis", {"url": "x"}),
        ),
    ],
)
async def test_what_is_not_named_stays_where_the_driver_does(
    patterns: Supervisor, request_: pb.ReplacePatternRequest, expected: PatternSpec
) -> None:
    def refuse(spec: PatternSpec) -> None:
        assert spec == expected
        raise InvalidArgument("as asked")

    servicer = ProxyAdminServicer(patterns, AdminGuard(None, required=False), refuse)
    with pytest.raises(InvalidArgument, match="as asked"):
        await servicer.replace_pattern(request_, Anybody())
