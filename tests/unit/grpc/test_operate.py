"""Operation stream: outcomes, their order, and its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2

from prism.adapters.grpc.request_log import RequestLog
from prism.adapters.wire.status import error_of
from prism.domain.turns import Turns
from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    DrainReport,
    Exhausted,
    Internal,
    InvalidArgument,
    NotServing,
    Outcome,
    PreconditionFailed,
    PrismError,
    Put,
)
from prism.v1 import keyvalue_pb2 as pb


class OrderedRoute:
    """Route to a downstream that preserves the order of operations on each key."""

    name = "ordered"

    def __init__(self, downstream: object) -> None:
        self.ordered_by = downstream


def get(identity: int, key: str, **more: Any) -> pb.Operation:
    return pb.Operation(id=identity, get=pb.GetRequest(key=key), **more)


def put(identity: int, key: str, value: bytes = b"v", **more: Any) -> pb.Operation:
    return pb.Operation(id=identity, set=pb.SetRequest(key=key, value=value), **more)


def error(outcome: pb.OperationOutcome) -> PrismError:
    assert outcome.WhichOneof("outcome") == "error"
    return error_of(outcome.error)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def fill_outbox(stream: Any) -> None:
    """Ask for large values until replies wait, because the caller does not read."""
    stream.reads.clear()
    stream.send(get(1, "k"), get(2, "k"), get(3, "k"))
    tally = stream.servicer._kinds["get"].tally
    await until(lambda: tally.ended == 3 and stream.admission.unread.used > 1_800_000)


async def test_every_kind_of_operation_gets_its_own_response(open_stream: Any) -> None:
    stream = await open_stream()
    requests: dict[str, Any] = {
        "set": pb.SetRequest(key="k", value=b"v"),
        "get": pb.GetRequest(key="k"),
        "exists": pb.ExistsRequest(key="k"),
        "expire": pb.ExpireRequest(key="k", ttl=Duration(seconds=60)),
        "get_ttl": pb.GetTtlRequest(key="k"),
        "persist": pb.PersistRequest(key="k"),
        "delete": pb.DeleteRequest(key="k"),
        "increment": pb.IncrementRequest(key="n", delta=3),
        "batch_set": pb.BatchSetRequest(keys=["a", "b"], values=[b"1", b"2"]),
        "batch_get": pb.BatchGetRequest(keys=["a", "b", "c"]),
        "batch_delete": pb.BatchDeleteRequest(keys=["a", "c"]),
        "scan": pb.ScanRequest(prefix="zzz"),
        "apply": pb.ApplyRequest(writes=[pb.Write(key="one"), pb.Write(key="two", delete=True)]),
    }
    for kind in pb.Operation.DESCRIPTOR.oneofs_by_name["operation"].fields:
        if kind.name not in requests:
            assert kind.message_type is not None
            requests[kind.name] = getattr(pb, kind.message_type.name)(key="k")
    stream.send(*(pb.Operation(id=n, **{kind: requests[kind]}) for n, kind in enumerate(requests)))
    outcomes = {kind: await stream.outcome(n) for n, kind in enumerate(requests)}
    assert [outcome.WhichOneof("outcome") for outcome in outcomes.values()] == list(requests)
    assert outcomes["get"].get.entry.value == b"v"
    assert outcomes["get_ttl"].get_ttl.state == pb.TTL_STATE_EXPIRING
    assert outcomes["persist"].persist.had_ttl
    assert outcomes["delete"].delete.existed
    assert outcomes["increment"].increment.value == 3
    assert list(outcomes["batch_get"].batch_get.found) == [True, True, False]
    assert list(outcomes["apply"].apply.existed) == [False, False]
    assert list(outcomes["batch_delete"].batch_delete.existed) == [True, False]


async def test_outcomes_of_one_turn_of_the_loop_share_a_message(open_stream: Any) -> None:
    stream = await open_stream()
    stream.send(*(get(n, f"k{n}") for n in range(15)))
    await stream.outcome(14)
    assert len(stream.messages) == 1
    assert stream.order == list(range(15))


async def test_operations_on_different_keys_do_not_wait_for_each_other(open_stream: Any) -> None:
    stream = await open_stream()
    stream.send(get(1, "held/a"), get(2, "free"), get(3, "held/b"), get(4, "free too"))
    assert (await stream.outcome(2)).WhichOneof("outcome") == "get"
    await stream.outcome(4)
    await until(lambda: len(stream.driver.entered) == 2)
    assert not stream.outcomes[1]
    stream.driver.release.set()
    await stream.outcome(1)
    await stream.outcome(3)


async def test_all_operations_of_a_message_run_concurrently(open_stream: Any) -> None:
    stream = await open_stream()
    stream.send(*(get(n, f"held/{n}") for n in range(200)))
    await until(lambda: len(stream.driver.entered) == 200)
    assert stream.admission.in_flight == 200
    stream.driver.release.set()
    await stream.outcome(199)


async def test_operations_on_one_key_take_effect_in_the_order_sent(open_stream: Any) -> None:
    stream = await open_stream()
    stream.send(put(1, "held", b"1"), put(2, "held", b"2"))
    stream.send(get(3, "held"), put(4, "held", b"4"))
    stream.send(get(5, "held"))
    await until(lambda: bool(stream.driver.entered))
    assert stream.driver.entered == ["set held 1"]
    stream.driver.release.set()
    assert (await stream.outcome(5)).get.entry.value == b"4"
    assert (await stream.outcome(3)).get.entry.value == b"2"
    assert stream.order == [1, 2, 3, 4, 5]
    assert stream.driver.entered == [
        *("set held 1", "set held 2", "get held", "set held 4", "get held")
    ]


async def test_batch_is_ordered_on_each_of_its_keys(open_stream: Any) -> None:
    stream = await open_stream()
    batch = pb.BatchSetRequest(keys=["held", "b", "b"], values=[b"batch", b"0", b"batch"])
    stream.send(
        put(1, "held", b"first"),
        pb.Operation(id=2, batch_set=batch),
        get(3, "b"),
        get(4, "c"),
        pb.Operation(id=5, batch_get=pb.BatchGetRequest(keys=["b", "c"])),
    )
    await stream.outcome(4)
    assert not stream.outcomes[3]
    stream.driver.release.set()
    assert (await stream.outcome(3)).get.entry.value == b"batch"
    assert list((await stream.outcome(5)).batch_get.values) == [b"batch", b""]
    entry = await stream.driver.get("held")
    assert entry.value == b"batch"


async def test_operations_that_waited_for_one_batch_run_concurrently(open_stream: Any) -> None:
    stream = await open_stream()
    batch = pb.BatchDeleteRequest(keys=["held", "held/a", "held/b"])
    stream.send(put(1, "held"), pb.Operation(id=2, batch_delete=batch))
    stream.send(get(3, "held/a"), get(4, "held/b"))
    await until(lambda: bool(stream.driver.entered))
    held, stream.driver.release = stream.driver.release, asyncio.Event()
    held.set()
    await until(lambda: len(stream.driver.entered) == 3)
    assert stream.driver.entered == ["set held v", "get held/a", "get held/b"]


async def test_operation_waits_for_one_on_its_key_unless_one_downstream_orders_both(
    open_stream: Any,
) -> None:
    stream = await open_stream()
    route = OrderedRoute("one server")
    stream.servicer.route_of = lambda pattern: route
    stream.send(put(1, "held", b"1", pattern="ordered"), put(2, "held", b"2", pattern="ordered"))
    await until(lambda: len(stream.driver.entered) == 2)
    route.ordered_by = "another server"
    stream.send(put(3, "held", b"3", pattern="ordered"), put(4, "free", pattern="ordered"))
    await stream.outcome(4)
    assert stream.driver.entered == ["set held 1", "set held 2"]
    stream.driver.release.set()
    await stream.outcome(3)


class Upstream:
    """Relay to an upstream whose outcomes the test decides."""

    def __init__(self, stream: Any) -> None:
        self.sent: list[Any] = []
        self.outcomes: Any = None
        stream.servicer.route_of = lambda pattern: OrderedRoute(self)
        stream.servicer.relay_to = self.relay_to

    def relay_to(self, downstream: object, outcomes: Any) -> Upstream:
        self.outcomes = outcomes
        return self

    def send(self, operation: Any) -> Any:
        self.sent.append(operation)
        return SimpleNamespace(cancel=lambda: True)

    async def receive(self, *operations: pb.Operation, stream: Any) -> None:
        stream.send(*operations)
        await until(lambda: len(self.sent) == len(operations))

    def answer(self, *values: bytes, whole: bool) -> None:
        """Answer the operations in the order in which they came."""
        outcomes = [
            pb.OperationOutcome(id=each.id, get=pb.GetResponse(entry=pb.Entry(value=value)))
            for each, value in zip(self.sent, values, strict=True)
        ]
        response = pb.OperateResponse(outcomes=outcomes) if whole else None
        self.outcomes.relayed(list(zip(self.sent, outcomes, strict=True)), response)


async def test_error_of_a_relayed_operation_is_its_outcome(open_stream: Any) -> None:
    stream = await open_stream()
    upstream = Upstream(stream)
    await upstream.receive(get(1, "k", pattern="upstream"), stream=stream)
    upstream.outcomes.relay_failed(upstream.sent[0], NotServing("the upstream is leaving"))
    refused = error(await stream.outcome(1))
    assert isinstance(refused, NotServing)
    assert refused.message == "the upstream is leaving"


@pytest.mark.parametrize("whole", [True, False])
async def test_outcomes_of_relayed_operations_that_arrive_together_are_one_message(
    open_stream: Any, whole: bool
) -> None:
    stream = await open_stream()
    upstream = Upstream(stream)
    operations = [get(identity, "k", pattern="upstream") for identity in (5, 6, 7)]
    await upstream.receive(*operations, stream=stream)
    upstream.answer(b"5", b"6", b"7", whole=whole)
    assert [(await stream.outcome(n)).get.entry.value for n in (5, 6, 7)] == [b"5", b"6", b"7"]
    assert len(stream.messages) == 1


async def test_large_outcomes_of_relayed_operations_are_limited_one_by_one(
    open_stream: Any,
) -> None:
    stream = await open_stream(max_message_bytes=100_000)
    upstream = Upstream(stream)
    operations = [get(identity, "k", pattern="upstream") for identity in (5, 6)]
    await upstream.receive(*operations, stream=stream)
    upstream.answer(bytes(150_000), b"small", whole=True)
    assert isinstance(error(await stream.outcome(5)), Exhausted)
    assert (await stream.outcome(6)).get.entry.value == b"small"


async def test_many_operations_on_one_key_are_answered_in_few_messages(open_stream: Any) -> None:
    stream = await open_stream()
    stream.send(
        *(pb.Operation(id=n, increment=pb.IncrementRequest(key="n", delta=1)) for n in range(300))
    )
    assert (await stream.outcome(299)).increment.value == 300
    assert len(stream.messages) < 10
    assert stream.admission.in_flight == 0


async def test_cancelled_operation_is_answered_once_and_affects_no_other(open_stream: Any) -> None:
    stream = await open_stream()
    stream.send(get(1, "held/a"), get(2, "held/b"))
    await until(lambda: len(stream.driver.entered) == 2)
    stream.send(cancel=(1, 1, 99))
    outcome = await stream.outcome(1)
    assert outcome.error.code == code_pb2.CANCELLED
    assert error(outcome).outcome is Outcome.UNKNOWN
    assert stream.driver.cancelled == 1
    stream.driver.release.set()
    assert (await stream.outcome(2)).WhichOneof("outcome") == "get"


async def test_operation_cancelled_before_it_begins_is_not_applied(open_stream: Any) -> None:
    stream = await open_stream()
    stream.send(put(1, "held", b"1"), put(2, "held", b"2"), get(3, "held"))
    await until(lambda: bool(stream.driver.entered))
    stream.send(cancel=(2,))
    assert error(await stream.outcome(2)).outcome is Outcome.NOT_APPLIED
    # The operation behind it still waits for the one ahead of it.
    assert not stream.outcomes[3]
    assert stream.admission.in_flight == 2
    stream.driver.release.set()
    assert (await stream.outcome(3)).get.entry.value == b"1"


async def test_operations_are_cancelled_while_their_caller_does_not_read(open_stream: Any) -> None:
    stream = await open_stream(max_message_bytes=1 << 20)
    await stream.driver.set("k", b"x" * 900_000)
    await fill_outbox(stream)
    for identity in range(4, 21):
        stream.send(get(identity, "k"))
    stream.send(cancel=tuple(range(1, 21)))
    await until(lambda: stream.everything_is_read)
    stream.reads.set()
    for identity in range(4, 21):
        assert error(await stream.outcome(identity)).outcome is Outcome.NOT_APPLIED


async def test_requests_wait_while_their_caller_does_not_read(open_stream: Any) -> None:
    stream = await open_stream(max_message_bytes=1 << 20)
    await stream.driver.set("k", b"x" * 900_000)
    await fill_outbox(stream)
    for identity in range(4, 24):
        stream.send(put(identity, f"{identity}", b"y" * 100_000))
    await asyncio.sleep(0.05)
    assert not stream.everything_is_read
    stream.reads.set()
    await asyncio.gather(*map(stream.outcome, range(1, 24)))


async def test_operation_behind_a_cancelled_one_on_its_key_can_time_out(open_stream: Any) -> None:
    stream = await open_stream()
    stream.send(get(1, "held"), get(2, "held", timeout_ms=50))
    await until(lambda: bool(stream.driver.entered))
    stream.send(cancel=(1,))
    # It runs in the task in which the first operation was cancelled.
    assert isinstance(error(await stream.outcome(2)), BackendTimeout)


async def test_each_operation_has_its_own_timeout(open_stream: Any) -> None:
    stream = await open_stream()
    stream.send(get(1, "held/a", timeout_ms=20), get(2, "held/b", timeout_ms=60_000))
    late = error(await stream.outcome(1))
    assert isinstance(late, BackendTimeout)
    assert late.outcome is Outcome.UNKNOWN
    stream.driver.release.set()
    assert (await stream.outcome(2)).WhichOneof("outcome") == "get"


async def test_waiting_for_earlier_operations_counts_towards_the_timeout(open_stream: Any) -> None:
    stream = await open_stream()
    stream.send(get(1, "held"), put(2, "held", timeout_ms=20))
    late = error(await stream.outcome(2))
    assert isinstance(late, BackendTimeout)
    assert late.outcome is Outcome.NOT_APPLIED
    assert stream.admission.in_flight == 1
    stream.driver.release.set()
    await stream.outcome(1)


async def test_operation_without_a_timeout_gets_the_default_of_the_server(open_stream: Any) -> None:
    stream = await open_stream(default_timeout=timedelta(milliseconds=20))
    stream.send(get(1, "held"))
    assert isinstance(error(await stream.outcome(1)), BackendTimeout)


async def test_operation_has_its_own_trace_context(open_stream: Any) -> None:
    stream = await open_stream()
    seen: list[Any] = []

    async def spy(request: Any, context: Any) -> pb.GetResponse:
        names = ("traceparent", "tracestate", "other")
        seen.append((context.connection, *map(context.metadata, names)))
        return pb.GetResponse()

    kinds = dict(stream.servicer._kinds)
    object.__setattr__(kinds["get"], "handler", spy)
    stream.send(get(1, "k", traceparent="00-1", tracestate="a=b"), get(2, "l"))
    await stream.outcome(2)
    assert seen == [
        ("somebody", "00-1", "a=b", "of the stream"),
        ("somebody", None, None, "of the stream"),
    ]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (pb.Operation(id=1), InvalidArgument),
        (get(1, "k", pattern="redis"), PreconditionFailed),
        (get(1, ""), InvalidArgument),
        (put(1, "k", b"x" * (2 << 20)), InvalidArgument),
    ],
)
async def test_invalid_operation_fails_alone(
    open_stream: Any, operation: pb.Operation, expected: type[PrismError]
) -> None:
    stream = await open_stream()
    stream.send(operation, get(2, "k"))
    refusal = error(await stream.outcome(1))
    assert isinstance(refusal, expected)
    assert refusal.outcome is Outcome.NOT_APPLIED
    assert (await stream.outcome(2)).WhichOneof("outcome") == "get"
    assert stream.admission.in_flight == 0


async def test_id_of_an_unanswered_operation_is_refused(open_stream: Any) -> None:
    stream = await open_stream()
    stream.send(get(1, "held"), get(1, "k"))
    assert isinstance(error(await stream.outcome(1)), InvalidArgument)
    stream.driver.release.set()
    await until(lambda: len(stream.outcomes[1]) == 2)
    assert stream.outcomes[1][1].WhichOneof("outcome") == "get"
    stream.send(get(1, "k"))
    await until(lambda: len(stream.outcomes[1]) == 3)
    assert stream.outcomes[1][2].WhichOneof("outcome") == "get"


async def test_unexpected_error_is_logged_in_full_and_hidden_from_the_caller(
    open_stream: Any, caplog: pytest.LogCaptureFixture
) -> None:
    stream = await open_stream()
    stream.send(get(1, "broken"))
    shown = error(await stream.outcome(1))
    assert isinstance(shown, Internal)
    assert "hunter2" not in shown.message
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "KeyValueService/Get" in record.getMessage()
    assert "hunter2" in caplog.text


async def test_secret_in_the_error_of_a_batch_item_is_hidden(open_stream: Any) -> None:
    log = RequestLog(redact=lambda text: text.replace("hunter2", "***"))
    stream = await open_stream(log=log)
    stream.send(get(1, "refused"))
    assert error(await stream.outcome(1)).message == "AUTH *** was refused"

    async def refuse(keys: list[str]) -> list[Any]:
        return [BackendUnavailable("AUTH hunter2 was refused") for _ in keys]

    stream.driver.get_many = stream.driver.delete_many = refuse
    stream.driver.set_many = refuse
    stream.send(
        pb.Operation(id=2, batch_get=pb.BatchGetRequest(keys=["a"])),
        pb.Operation(id=3, batch_delete=pb.BatchDeleteRequest(keys=["a"])),
        pb.Operation(id=4, batch_set=pb.BatchSetRequest(keys=["a"], values=[b"v"])),
    )
    for number in (2, 3, 4):
        outcome = await stream.outcome(number)
        [item] = getattr(outcome, outcome.WhichOneof("outcome")).errors
        assert item.status.message == "AUTH *** was refused"


@pytest.mark.parametrize("bound", ["max_in_flight", "max_per_connection"])
@pytest.mark.parametrize("keys", [["held/a", "held/b"], ["held", "held"]])
async def test_each_operation_is_admitted_by_itself(
    open_stream: Any, bound: str, keys: list[str]
) -> None:
    stream = await open_stream(**{bound: 2})
    stream.send(*(get(n, key) for n, key in enumerate(keys)))
    await until(lambda: stream.admission.in_flight == 2)
    stream.send(get(3, keys[0]))
    assert isinstance(error(await stream.outcome(3)), Exhausted)
    stream.driver.release.set()
    await stream.outcome(1)
    stream.send(get(4, keys[0]))
    assert (await stream.outcome(4)).WhichOneof("outcome") == "get"
    assert stream.admission.in_flight == 0


async def test_message_stays_within_the_limit_for_any_number_of_outcomes(open_stream: Any) -> None:
    stream = await open_stream(max_message_bytes=1 << 20)
    await stream.driver.set("k", b"x" * 400_000)
    stream.send(*(get(n, "k") for n in range(5)))
    await stream.outcome(4)
    assert sum(len(message.outcomes) for message in stream.messages) == 5
    assert all(message.ByteSize() <= 1 << 20 for message in stream.messages)
    assert all(message.ByteSize() <= 1 << 20 for message in stream.messages)


async def test_reply_over_the_limit_fails_its_operation_alone(open_stream: Any) -> None:
    stream = await open_stream(max_message_bytes=10_000)
    await stream.driver.set("k", b"x" * 10_000)
    stream.send(get(1, "k"), get(2, "l"))
    assert isinstance(error(await stream.outcome(1)), Exhausted)
    await stream.outcome(2)
    assert stream.ended is None


async def test_half_closed_stream_ends_when_all_operations_are_answered(open_stream: Any) -> None:
    stream = await open_stream()
    stream.send(get(1, "held"), put(2, "held", b"2"))
    stream.half_close()
    await until(lambda: bool(stream.driver.entered))
    stream.driver.release.set()
    await stream.task
    assert stream.order == [1, 2]
    assert stream.ended is None


async def test_malformed_message_ends_the_stream_after_all_earlier_operations(
    open_stream: Any,
) -> None:
    stream = await open_stream()
    stream.send(get(1, "held"))
    stream.half_close(InvalidArgument("not a message"))
    await until(lambda: bool(stream.driver.entered))
    stream.driver.release.set()
    await stream.task
    assert stream.order == [1]
    assert isinstance(stream.ended, InvalidArgument)


async def test_drain_answers_operations_in_flight_and_ends_the_stream(open_stream: Any) -> None:
    stream = await open_stream()
    stream.send(put(1, "held", b"1"), put(2, "held", b"2"))
    await until(lambda: bool(stream.driver.entered))
    drain = asyncio.create_task(stream.lifecycle.drain())
    await until(lambda: bool(stream.lifecycle.current == "draining"))
    stream.send(get(3, "k"))
    assert isinstance(error(await stream.outcome(3)), NotServing)
    stream.driver.release.set()
    assert await drain == DrainReport(completed=2)
    await stream.task
    assert stream.order == [3, 1, 2]
    assert isinstance(stream.ended, NotServing)
    assert stream.ended.outcome is Outcome.NOT_APPLIED


async def test_stop_aborts_waiting_and_running_operations(open_stream: Any) -> None:
    stream = await open_stream()
    stream.send(put(1, "held", b"1"), put(2, "held", b"2"))
    await until(lambda: bool(stream.driver.entered))
    await stream.lifecycle.stop()
    await stream.task
    assert error(stream.outcomes[1][0]).outcome is Outcome.UNKNOWN
    assert error(stream.outcomes[2][0]).outcome is Outcome.NOT_APPLIED
    assert isinstance(stream.ended, NotServing)


async def test_drain_ends_an_idle_stream(open_stream: Any) -> None:
    stream = await open_stream()
    await stream.lifecycle.drain()
    await stream.task
    assert isinstance(stream.ended, NotServing)


async def test_no_operation_runs_on_after_its_caller_has_gone(open_stream: Any) -> None:
    stream = await open_stream()
    stream.send(get(1, "held/a"), get(2, "held/b"), get(3, "held/b"))
    await until(lambda: len(stream.driver.entered) == 2)
    stream.task.cancel()
    await until(lambda: not stream.admission.in_flight)
    assert stream.driver.cancelled == 2
    tallies = stream.servicer._kinds["get"].tally
    assert (tallies.started, tallies.ended) == (3, 3)
    await until(lambda: len(asyncio.all_tasks()) == 1)


async def test_an_operation_on_one_key_begins_before_a_queue_of_scans(open_stream: Any) -> None:
    stream = await open_stream()
    await stream.driver.set_many([Put(f"key/{number}", b"v") for number in range(300)])
    scan = pb.ScanRequest(prefix="key/", page_size=300)
    stream.send(*(pb.Operation(id=number, scan=scan) for number in range(1, 301)))
    stream.send(get(301, "key/1"))
    await until(lambda: len(stream.order) == 301)
    assert stream.order.index(301) < 100
    assert sorted(stream.order) == list(range(1, 302))


async def test_a_batch_keeps_its_place_on_its_keys_while_others_begin_before_it(
    open_stream: Any,
) -> None:
    stream = await open_stream()
    batch = pb.BatchSetRequest(keys=["a", "b"], values=[b"1", b"1"])
    stream.send(put(1, "a", b"0"), pb.Operation(id=2, batch_set=batch), put(3, "a", b"2"))
    stream.send(get(4, "a"), get(5, "b"))
    assert (await stream.outcome(4)).get.entry.value == b"2"
    assert (await stream.outcome(5)).get.entry.value == b"1"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Connections that wait for a later turn of the loop, while no turn has any time."""
    later: list[str] = []
    call_later = Turns.call_later

    def record(turns: Turns, connection: str, begin: Callable[[], None], **more: float) -> None:
        later.append(connection)
        call_later(turns, connection, begin, **more)

    monkeypatch.setattr(Turns, "has_time", lambda _: False)
    monkeypatch.setattr(Turns, "call_later", record)
    return later


async def test_a_stream_begins_nothing_in_a_turn_of_the_loop_that_is_over(
    open_stream: Any, later: list[str]
) -> None:
    stream = await open_stream()
    stream.send(get(1, "k"))
    await stream.outcome(1)
    assert later == ["somebody"]


async def test_operations_that_are_refused_take_turns_as_well(
    open_stream: Any, later: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prism.adapters.grpc.servicers.operate.stream.SHARE_S", 0)
    stream = await open_stream()
    stream.send(*(pb.Operation(id=number) for number in range(1, 31)))
    await until(lambda: len(stream.order) == 30)
    assert len(later) == 30


async def test_cancelling_takes_a_turn(open_stream: Any, later: list[str]) -> None:
    stream = await open_stream()
    stream.send(get(1, "held"))
    await until(lambda: bool(stream.driver.entered))
    later.clear()
    stream.send(cancel=(1,))
    await stream.outcome(1)
    assert later == ["somebody"]
