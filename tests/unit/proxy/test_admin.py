from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from prism.adapters.grpc.admin_guard import AdminGuard
from prism.adapters.grpc.servicers.proxy_admin import MAX_UNREAD, ProxyAdminServicer
from prism.domain.patterns.supervisor import Supervisor
from prism.domain.patterns.values import EventKind, PatternSpec
from prism.ports import AccessDenied, InvalidArgument, PreconditionFailed, WatchEnded
from prism.v1 import proxy_pb2 as pb


class AnonymousCall:
    """Context of a call without metadata."""

    connection = ""
    timeout_s = None
    pattern = ""
    authorization = None
    certificate = ""

    def metadata(self, name: str) -> str | None:
        return None


async def once(request: pb.WatchPatternsRequest) -> AsyncIterator[pb.WatchPatternsRequest]:
    yield request


def servicer_of(patterns: Supervisor, *, required: bool = False) -> ProxyAdminServicer:
    return ProxyAdminServicer(patterns, AdminGuard(None, required=required), lambda spec: spec)


async def test_watch_yields_recorded_events_then_new_ones(patterns: Supervisor) -> None:
    patterns.journal.add("a", EventKind.LAUNCHED, "one")
    request = pb.WatchPatternsRequest()
    async with aclosing(
        servicer_of(patterns).watch_patterns(once(request), AnonymousCall())
    ) as replies:
        assert (await anext(replies)).event.message == "one"
        patterns.journal.add("b", EventKind.LAUNCHED, "two")
        assert (await anext(replies)).event.message == "two"


async def test_watch_of_one_pattern_yields_no_events_of_others(patterns: Supervisor) -> None:
    patterns.journal.add("a", EventKind.LAUNCHED, "one")
    patterns.journal.add("b", EventKind.LAUNCHED, "two")
    request = pb.WatchPatternsRequest(name="b")
    async with aclosing(
        servicer_of(patterns).watch_patterns(once(request), AnonymousCall())
    ) as replies:
        assert (await anext(replies)).event.message == "two"
        patterns.journal.add("a", EventKind.LAUNCHED, "three")
        patterns.journal.add("b", EventKind.LAUNCHED, "four")
        assert (await anext(replies)).event.message == "four"


async def test_slow_reader_gets_the_unread_events_and_then_an_error(
    patterns: Supervisor,
) -> None:
    patterns.journal.add("a", EventKind.LAUNCHED, "first")
    replies = servicer_of(patterns).watch_patterns(once(pb.WatchPatternsRequest()), AnonymousCall())
    async with aclosing(replies):
        await anext(replies)
        for number in range(MAX_UNREAD + 1):
            patterns.journal.add("a", EventKind.HEALTH, str(number))
        read = [(await anext(replies)).event.message for _ in range(MAX_UNREAD)]
        assert read == [str(number) for number in range(MAX_UNREAD)]
        with pytest.raises(WatchEnded, match="more than 1,000 events waited for the reader"):
            await anext(replies)


async def test_closed_watch_is_unsubscribed(patterns: Supervisor) -> None:
    patterns.journal.add("a", EventKind.LAUNCHED, "first")
    replies = servicer_of(patterns).watch_patterns(once(pb.WatchPatternsRequest()), AnonymousCall())
    await anext(replies)
    assert len(patterns.journal._subscribers) == 1
    await replies.aclose()
    assert not patterns.journal._subscribers


async def test_unknown_or_empty_name_is_refused(patterns: Supervisor) -> None:
    servicer = servicer_of(patterns)
    with pytest.raises(
        PreconditionFailed, match="no pattern 'c'; the patterns are: a, b"
    ) as refused:
        await servicer.get_pattern(pb.GetPatternRequest(name="c"), AnonymousCall())
    assert refused.value.reason == "UNKNOWN_PATTERN"
    with pytest.raises(InvalidArgument, match="name is empty"):
        await servicer.drain_pattern(pb.DrainPatternRequest(), AnonymousCall())


async def test_every_call_needs_the_admin_token(patterns: Supervisor) -> None:
    servicer = servicer_of(patterns, required=True)
    replies = servicer.watch_patterns(once(pb.WatchPatternsRequest()), AnonymousCall())
    with pytest.raises(AccessDenied):
        await anext(replies)
    for call in (
        servicer.list_patterns(pb.ListPatternsRequest(), AnonymousCall()),
        servicer.get_pattern(pb.GetPatternRequest(name="c"), AnonymousCall()),
        servicer.restart_pattern(pb.RestartPatternRequest(name="c"), AnonymousCall()),
        servicer.drain_pattern(pb.DrainPatternRequest(name="c"), AnonymousCall()),
        servicer.replace_pattern(pb.ReplacePatternRequest(name="c"), AnonymousCall()),
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
async def test_replace_keeps_settings_if_the_driver_stays(
    patterns: Supervisor, request_: pb.ReplacePatternRequest, expected: PatternSpec
) -> None:
    def refuse(spec: PatternSpec) -> PatternSpec:
        assert spec == expected
        raise InvalidArgument("as asked")

    servicer = ProxyAdminServicer(patterns, AdminGuard(None, required=False), refuse)
    with pytest.raises(InvalidArgument, match="as asked"):
        await servicer.replace_pattern(request_, AnonymousCall())
