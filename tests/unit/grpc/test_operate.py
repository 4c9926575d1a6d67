"""An operation stream: what it answers, in which order, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from google.rpc import code_pb2

from prism.adapters.grpc.request_log import RequestLog
from prism.adapters.wire.status import error_of
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
)
from prism.v1 import keyvalue_pb2 as pb


def get(identity: int, key: str, **more: Any) -> pb.Operation:
    return pb.Operation(id=identity, get=pb.GetRequest(key=key), **more)


def put(identity: int, key: str, value: bytes = b"v", **more: Any) -> pb.Operation:
    return pb.Operation(id=identity, set=pb.SetRequest(key=key, value=value), **more)


def error(outcome: pb.OperationOutcome) -> PrismError:
    assert outcome.WhichOneof("outcome") == "error"
    return error_of(outcome.error)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_every_kind_of_operation_is_answered_with_its_own_response(converse: Any) -> None:
    talk = await converse()
    requests: dict[str, Any] = {
        "set": pb.SetRequest(key="k", value=b"v"),
        "get": pb.GetRequest(key="k"),
        "exists": pb.ExistsRequest(key="k"),
        "expire": pb.ExpireRequest(key="k", ttl=timedelta(seconds=60)),
        "get_ttl": pb.GetTtlRequest(key="k"),
        "persist": pb.PersistRequest(key="k"),
        "delete": pb.DeleteRequest(key="k"),
        "increment": pb.IncrementRequest(key="n", delta=3),
        "batch_set": pb.BatchSetRequest(keys=["a", "b"], values=[b"1", b"2"]),
        "batch_get": pb.BatchGetRequest(keys=["a", "b", "c"]),
        "batch_delete": pb.BatchDeleteRequest(keys=["a", "c"]),
        "scan": pb.ScanRequest(prefix="zzz"),
    }
    kinds = [one.name for one in pb.Operation.DESCRIPTOR.oneofs_by_name["operation"].fields]
    assert sorted(requests) == sorted(kinds)
    talk.send(*(pb.Operation(id=n, **{kind: requests[kind]}) for n, kind in enumerate(requests)))
    outcomes = {kind: await talk.outcome(n) for n, kind in enumerate(requests)}
    assert [outcome.WhichOneof("outcome") for outcome in outcomes.values()] == list(requests)
    assert outcomes["get"].get.entry.value == b"v"
    assert outcomes["get_ttl"].get_ttl.state == pb.TTL_STATE_EXPIRING
    assert outcomes["persist"].persist.had_ttl
    assert outcomes["delete"].delete.existed
    assert outcomes["increment"].increment.value == 3
    assert list(outcomes["batch_get"].batch_get.found) == [True, True, False]
    assert list(outcomes["batch_delete"].batch_delete.existed) == [True, False]


async def test_what_completes_in_one_turn_is_one_message(converse: Any) -> None:
    talk = await converse()
    talk.send(*(get(n, f"k{n}") for n in range(15)))
    await talk.outcome(14)
    assert len(talk.messages) == 1
    assert talk.order == list(range(15))


async def test_operations_on_different_keys_do_not_wait_for_one_another(converse: Any) -> None:
    talk = await converse()
    talk.send(get(1, "held/a"), get(2, "free"), get(3, "held/b"), get(4, "free too"))
    assert (await talk.outcome(2)).WhichOneof("outcome") == "get"
    await talk.outcome(4)
    await until(lambda: len(talk.driver.entered) == 2)
    assert not talk.outcomes[1]
    talk.driver.release.set()
    await talk.outcome(1)
    await talk.outcome(3)


async def test_all_of_a_message_waits_at_the_driver_at_once(converse: Any) -> None:
    talk = await converse()
    talk.send(*(get(n, f"held/{n}") for n in range(200)))
    await until(lambda: len(talk.driver.entered) == 200)
    assert talk.admission.in_flight == 200
    talk.driver.release.set()
    await talk.outcome(199)


async def test_operations_on_one_key_take_effect_in_the_order_sent(converse: Any) -> None:
    talk = await converse()
    talk.send(put(1, "held", b"1"), put(2, "held", b"2"))
    talk.send(get(3, "held"), put(4, "held", b"4"))
    talk.send(get(5, "held"))
    await until(lambda: bool(talk.driver.entered))
    assert talk.driver.entered == ["set held 1"]
    talk.driver.release.set()
    assert (await talk.outcome(5)).get.entry.value == b"4"
    assert (await talk.outcome(3)).get.entry.value == b"2"
    assert talk.order == [1, 2, 3, 4, 5]
    assert talk.driver.entered == [
        *("set held 1", "set held 2", "get held", "set held 4", "get held")
    ]


async def test_a_batch_takes_its_turn_on_every_key_it_names(converse: Any) -> None:
    talk = await converse()
    batch = pb.BatchSetRequest(keys=["held", "b", "b"], values=[b"batch", b"0", b"batch"])
    talk.send(
        put(1, "held", b"first"),
        pb.Operation(id=2, batch_set=batch),
        get(3, "b"),
        get(4, "c"),
        pb.Operation(id=5, batch_get=pb.BatchGetRequest(keys=["b", "c"])),
    )
    await talk.outcome(4)
    assert not talk.outcomes[3]
    talk.driver.release.set()
    assert (await talk.outcome(3)).get.entry.value == b"batch"
    assert list((await talk.outcome(5)).batch_get.values) == [b"batch", b""]
    entry = await talk.driver.get("held")
    assert entry.value == b"batch"


async def test_many_operations_on_one_key_are_answered_in_few_messages(converse: Any) -> None:
    talk = await converse()
    talk.send(
        *(pb.Operation(id=n, increment=pb.IncrementRequest(key="n", delta=1)) for n in range(300))
    )
    assert (await talk.outcome(299)).increment.value == 300
    assert len(talk.messages) < 10
    assert talk.admission.in_flight == 0


async def test_a_cancelled_operation_is_answered_once_and_disturbs_no_other(converse: Any) -> None:
    talk = await converse()
    talk.send(get(1, "held/a"), get(2, "held/b"))
    await until(lambda: len(talk.driver.entered) == 2)
    talk.send(cancel=(1, 1, 99))
    outcome = await talk.outcome(1)
    assert outcome.error.code == code_pb2.CANCELLED
    assert error(outcome).outcome is Outcome.UNKNOWN
    assert talk.driver.cancelled == 1
    talk.driver.release.set()
    assert (await talk.outcome(2)).WhichOneof("outcome") == "get"


async def test_an_operation_cancelled_before_its_turn_is_not_applied(converse: Any) -> None:
    talk = await converse()
    talk.send(put(1, "held", b"1"), put(2, "held", b"2"), get(3, "held"))
    await until(lambda: bool(talk.driver.entered))
    talk.send(cancel=(2,))
    assert error(await talk.outcome(2)).outcome is Outcome.NOT_APPLIED
    # What came after it still waits for what came before it.
    assert not talk.outcomes[3]
    assert talk.admission.in_flight == 2
    talk.driver.release.set()
    assert (await talk.outcome(3)).get.entry.value == b"1"


async def test_what_follows_a_cancelled_operation_on_its_key_can_time_out(converse: Any) -> None:
    talk = await converse()
    talk.send(get(1, "held"), get(2, "held", timeout_ms=50))
    await until(lambda: bool(talk.driver.entered))
    talk.send(cancel=(1,))
    # It runs in the task in which the first was cancelled.
    assert isinstance(error(await talk.outcome(2)), BackendTimeout)


async def test_each_operation_has_its_own_timeout(converse: Any) -> None:
    talk = await converse()
    talk.send(get(1, "held/a", timeout_ms=20), get(2, "held/b", timeout_ms=60_000))
    late = error(await talk.outcome(1))
    assert isinstance(late, BackendTimeout)
    assert late.outcome is Outcome.UNKNOWN
    talk.driver.release.set()
    assert (await talk.outcome(2)).WhichOneof("outcome") == "get"


async def test_waiting_for_a_turn_counts_towards_the_timeout(converse: Any) -> None:
    talk = await converse()
    talk.send(get(1, "held"), put(2, "held", timeout_ms=20))
    late = error(await talk.outcome(2))
    assert isinstance(late, BackendTimeout)
    assert late.outcome is Outcome.NOT_APPLIED
    assert talk.admission.in_flight == 1
    talk.driver.release.set()
    await talk.outcome(1)


async def test_an_operation_without_a_timeout_has_the_servers_default(converse: Any) -> None:
    talk = await converse(default_timeout=timedelta(milliseconds=20))
    talk.send(get(1, "held"))
    assert isinstance(error(await talk.outcome(1)), BackendTimeout)


async def test_an_operation_sees_its_own_trace_context(converse: Any) -> None:
    talk = await converse()
    seen: list[Any] = []

    async def spy(request: Any, context: Any) -> pb.GetResponse:
        names = ("traceparent", "tracestate", "other")
        seen.append((context.connection, *map(context.metadata, names)))
        return pb.GetResponse()

    kinds = dict(talk.servicer._kinds)
    object.__setattr__(kinds["get"], "handler", spy)
    talk.send(get(1, "k", traceparent="00-1", tracestate="a=b"), get(2, "l"))
    await talk.outcome(2)
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
async def test_a_bad_operation_fails_alone(
    converse: Any, operation: pb.Operation, expected: type[PrismError]
) -> None:
    talk = await converse()
    talk.send(operation, get(2, "k"))
    refusal = error(await talk.outcome(1))
    assert isinstance(refusal, expected)
    assert refusal.outcome is Outcome.NOT_APPLIED
    assert (await talk.outcome(2)).WhichOneof("outcome") == "get"
    assert talk.admission.in_flight == 0


async def test_the_id_of_an_unanswered_operation_is_refused(converse: Any) -> None:
    talk = await converse()
    talk.send(get(1, "held"), get(1, "k"))
    assert isinstance(error(await talk.outcome(1)), InvalidArgument)
    talk.driver.release.set()
    await until(lambda: len(talk.outcomes[1]) == 2)
    assert talk.outcomes[1][1].WhichOneof("outcome") == "get"
    talk.send(get(1, "k"))
    await until(lambda: len(talk.outcomes[1]) == 3)
    assert talk.outcomes[1][2].WhichOneof("outcome") == "get"


async def test_an_unexpected_error_is_logged_whole_and_shown_to_nobody(
    converse: Any, caplog: pytest.LogCaptureFixture
) -> None:
    talk = await converse()
    talk.send(get(1, "broken"))
    shown = error(await talk.outcome(1))
    assert isinstance(shown, Internal)
    assert "hunter2" not in shown.message
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "KeyValueService/Get" in record.getMessage()
    assert "hunter2" in caplog.text


async def test_a_secret_in_an_error_is_hidden_also_in_an_item_of_a_batch(converse: Any) -> None:
    log = RequestLog(redact=lambda text: text.replace("hunter2", "***"))
    talk = await converse(log=log)
    talk.send(get(1, "refused"))
    assert error(await talk.outcome(1)).message == "AUTH *** was refused"

    async def refuse(keys: list[str]) -> list[Any]:
        return [BackendUnavailable("AUTH hunter2 was refused") for _ in keys]

    talk.driver.get_many = talk.driver.delete_many = refuse
    talk.driver.set_many = refuse
    talk.send(
        pb.Operation(id=2, batch_get=pb.BatchGetRequest(keys=["a"])),
        pb.Operation(id=3, batch_delete=pb.BatchDeleteRequest(keys=["a"])),
        pb.Operation(id=4, batch_set=pb.BatchSetRequest(keys=["a"], values=[b"v"])),
    )
    for number in (2, 3, 4):
        outcome = await talk.outcome(number)
        [item] = getattr(outcome, outcome.WhichOneof("outcome")).errors
        assert item.status.message == "AUTH *** was refused"


@pytest.mark.parametrize("bound", ["max_in_flight", "max_per_connection"])
@pytest.mark.parametrize("keys", [["held/a", "held/b"], ["held", "held"]])
async def test_operations_are_admitted_one_by_one(
    converse: Any, bound: str, keys: list[str]
) -> None:
    talk = await converse(**{bound: 2})
    talk.send(*(get(n, key) for n, key in enumerate(keys)))
    await until(lambda: talk.admission.in_flight == 2)
    talk.send(get(3, keys[0]))
    assert isinstance(error(await talk.outcome(3)), Exhausted)
    talk.driver.release.set()
    await talk.outcome(1)
    talk.send(get(4, keys[0]))
    assert (await talk.outcome(4)).WhichOneof("outcome") == "get"
    assert talk.admission.in_flight == 0


async def test_a_message_stays_within_the_limit_whatever_completes_at_once(converse: Any) -> None:
    talk = await converse(max_message_bytes=1 << 20)
    await talk.driver.set("k", b"x" * 400_000)
    talk.send(*(get(n, "k") for n in range(5)))
    await talk.outcome(4)
    assert [len(message.outcomes) for message in talk.messages] == [2, 2, 1]
    assert all(message.ByteSize() <= 1 << 20 for message in talk.messages)


async def test_a_reply_beyond_the_limit_fails_its_operation_alone(converse: Any) -> None:
    talk = await converse(max_message_bytes=10_000)
    await talk.driver.set("k", b"x" * 10_000)
    talk.send(get(1, "k"), get(2, "l"))
    assert isinstance(error(await talk.outcome(1)), Exhausted)
    await talk.outcome(2)
    assert talk.ended is None


async def test_a_half_closed_stream_ends_when_everything_is_answered(converse: Any) -> None:
    talk = await converse()
    talk.send(get(1, "held"), put(2, "held", b"2"))
    talk.half_close()
    await until(lambda: bool(talk.driver.entered))
    talk.driver.release.set()
    await talk.task
    assert talk.order == [1, 2]
    assert talk.ended is None


async def test_a_malformed_message_ends_the_stream_after_all_before_it(converse: Any) -> None:
    talk = await converse()
    talk.send(get(1, "held"))
    talk.half_close(InvalidArgument("not a message"))
    await until(lambda: bool(talk.driver.entered))
    talk.driver.release.set()
    await talk.task
    assert talk.order == [1]
    assert isinstance(talk.ended, InvalidArgument)


async def test_a_drain_answers_what_is_in_flight_and_ends_the_stream(converse: Any) -> None:
    talk = await converse()
    talk.send(put(1, "held", b"1"), put(2, "held", b"2"))
    await until(lambda: bool(talk.driver.entered))
    drain = asyncio.create_task(talk.lifecycle.drain())
    await until(lambda: bool(talk.lifecycle.current == "draining"))
    talk.send(get(3, "k"))
    assert isinstance(error(await talk.outcome(3)), NotServing)
    talk.driver.release.set()
    assert await drain == DrainReport(completed=2)
    await talk.task
    assert talk.order == [3, 1, 2]
    assert isinstance(talk.ended, NotServing)
    assert talk.ended.outcome is Outcome.NOT_APPLIED


async def test_a_stop_aborts_what_waits_as_well_as_what_runs(converse: Any) -> None:
    talk = await converse()
    talk.send(put(1, "held", b"1"), put(2, "held", b"2"))
    await until(lambda: bool(talk.driver.entered))
    await talk.lifecycle.stop()
    await talk.task
    assert error(talk.outcomes[1][0]).outcome is Outcome.UNKNOWN
    assert error(talk.outcomes[2][0]).outcome is Outcome.NOT_APPLIED
    assert isinstance(talk.ended, NotServing)


async def test_an_idle_stream_ends_with_a_drain(converse: Any) -> None:
    talk = await converse()
    await talk.lifecycle.drain()
    await talk.task
    assert isinstance(talk.ended, NotServing)


async def test_a_caller_that_goes_away_leaves_nothing_running(converse: Any) -> None:
    talk = await converse()
    talk.send(get(1, "held/a"), get(2, "held/b"), get(3, "held/b"))
    await until(lambda: len(talk.driver.entered) == 2)
    talk.task.cancel()
    await until(lambda: not talk.admission.in_flight)
    assert talk.driver.cancelled == 2
    tallies = talk.servicer._kinds["get"].tally
    assert (tallies.started, tallies.ended) == (3, 3)
    await until(lambda: len(asyncio.all_tasks()) == 1)
