"""gRPC over ASGI: framing, compression, statuses and malformed requests."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue, StringValue
from google.rpc import code_pb2, status_pb2

from prism.adapters.grpc.calls import Call, StreamCall, UnaryCall
from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.transports.asgi import Context, GrpcOverAsgi
from prism.adapters.grpc.transports.framing import frame
from prism.adapters.grpc.transports.peer_limits import PeerLimits
from prism.adapters.wire.status import error_of
from prism.domain.connection_budget import UnreadReplies
from prism.domain.turns import Turns
from prism.ports import InvalidArgument, Outcome

LIMIT = 1000


async def echo(request: StringValue, context: CallContext) -> StringValue:
    if request.value == "refuse":
        raise InvalidArgument("100 % wrong: ö\n")
    if request.value == "timeout":
        return StringValue(value=str(context.timeout_s))
    if request.value == "metadata":
        return StringValue(value=context.metadata("x-name"))
    return request


async def each(
    requests: AsyncIterator[StringValue], context: CallContext
) -> AsyncGenerator[Any, None]:
    async for request in requests:
        if request.value == "refuse":
            raise InvalidArgument("no")
        yield request


CALLS: Mapping[str, Call] = {
    "/t.T/Echo": UnaryCall(
        path="/t.T/Echo",
        request_type=StringValue,
        handler=echo,
        default_timeout_s=None,
        max_reply_bytes=LIMIT,
    ),
    "/t.T/Each": StreamCall(
        path="/t.T/Each", request_type=StringValue, handler=each, max_reply_bytes=LIMIT
    ),
}


@dataclass
class Answer:
    """Events that the application sent."""

    events: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def trailers(self) -> dict[bytes, bytes]:
        return dict(next(e["headers"] for e in reversed(self.events) if "headers" in e))

    @property
    def code(self) -> int:
        return int(self.trailers[b"grpc-status"])

    @property
    def replies(self) -> list[str]:
        body = b"".join(event.get("body", b"") for event in self.events)
        found = []
        while body:
            size = int.from_bytes(body[1:5], "big")
            found.append(StringValue.FromString(body[5 : 5 + size]).value)
            body = body[5 + size :]
        return found


async def ask(
    *body: bytes, path: str = "/t.T/Echo", asked: GrpcOverAsgi | None = None, **headers: str
) -> Answer:
    """Send a request whose body arrives in these pieces."""
    events = [{"type": "http.request", "body": piece, "more_body": True} for piece in body]
    events.append({"type": "http.request"})
    named = {"content_type": "application/grpc", "te": "trailers", **headers}
    encoded = [(name.replace("_", "-").encode(), v.encode()) for name, v in named.items()]
    return await ask_events(events, scope_of(path, headers=encoded), asked)


async def ask_events(
    events: Iterable[Mapping[str, Any]], scope: Mapping[str, Any], asked: GrpcOverAsgi | None = None
) -> Answer:
    """Let these events arrive."""
    answer = Answer()
    arriving = iter(events)

    async def receive() -> Mapping[str, Any]:
        return next(arriving)

    async def send(event: Mapping[str, Any]) -> None:
        answer.events.append(event)

    await (asked or application())(scope, receive, send)
    return answer


def application(unread: UnreadReplies | None = None) -> GrpcOverAsgi:
    limits = PeerLimits(unread or UnreadReplies(), Turns(), timedelta(seconds=5))
    return GrpcOverAsgi(CALLS, max_message_bytes=LIMIT, limits=limits)


def scope_of(path: str = "/t.T/Echo", **changes: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "headers": [(b"content-type", b"application/grpc"), (b"te", b"trailers")],
        **changes,
    }


def message(text: str) -> bytes:
    return StringValue(value=text).SerializeToString()


def compressed(data: bytes) -> bytes:
    return b"\1" + len(data).to_bytes(4, "big") + data


async def test_message_may_arrive_in_any_number_of_pieces() -> None:
    framed = frame(message("hello"))
    assert (await ask(framed)).replies == ["hello"]
    assert (await ask(*(framed[i : i + 1] for i in range(len(framed))))).replies == ["hello"]


async def test_empty_message_is_accepted() -> None:
    answer = await ask(frame(b""))
    assert (answer.code, answer.replies) == (0, [""])


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
async def test_compressed_message_is_read(encoding: str, compress: Any) -> None:
    answer = await ask(compressed(compress(message("hello"))), grpc_encoding=encoding)
    assert (answer.code, answer.replies) == (0, ["hello"])


async def test_unknown_encoding_is_unimplemented_and_the_error_names_the_known_ones() -> None:
    answer = await ask(compressed(b"x"), grpc_encoding="snappy")
    assert answer.code == code_pb2.UNIMPLEMENTED
    assert answer.trailers[b"grpc-accept-encoding"] == b"identity,deflate,gzip"


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (compressed(message("hello")), "identity"),
        (compressed(b"no gzip"), "gzip"),
        (compressed(gzip.compress(message("hello"))[:-9]), "gzip"),
        (frame(message("a")) + frame(message("b")), "identity"),
        (frame(message("hello"))[:-1], "identity"),
        (b"", "identity"),
        (b"\0\0", "identity"),
    ],
    ids=[
        "no encoding",
        "no gzip",
        "cut gzip",
        "two messages",
        "cut message",
        "nothing",
        "cut prefix",
    ],
)
async def test_malformed_call_is_internal_as_in_grpc(body: bytes, encoding: str) -> None:
    answer = await ask(body, grpc_encoding=encoding)
    assert answer.code == code_pb2.INTERNAL
    assert answer.replies == []


async def test_message_over_the_limit_is_refused_before_it_arrives() -> None:
    announced = b"\0" + (LIMIT + 1).to_bytes(4, "big")
    assert (await ask(announced)).code == code_pb2.RESOURCE_EXHAUSTED


async def test_message_over_the_limit_after_decompression_is_refused() -> None:
    bomb = gzip.compress(BytesValue(value=b"\0" * 500_000).SerializeToString())
    assert len(bomb) < LIMIT
    answer = await ask(compressed(bomb), grpc_encoding="gzip")
    assert answer.code == code_pb2.RESOURCE_EXHAUSTED


async def test_error_text_arrives_complete_for_any_text() -> None:
    answer = await ask(frame(message("refuse")))
    assert answer.trailers[b"grpc-message"] == b"100 %25 wrong: %C3%B6%0A"
    details = answer.trailers[b"grpc-status-details-bin"]
    status = status_pb2.Status.FromString(b64decode(details + b"=" * (-len(details) % 4)))
    error = error_of(status)
    assert isinstance(error, InvalidArgument)
    assert error.message == "100 % wrong: ö\n"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("1S", 1.0), ("200m", 0.2), ("1H", 3600.0), ("500000u", 0.5), ("2M", 120.0)],
)
async def test_timeout_of_the_caller_is_read(header: str, seconds: float) -> None:
    (reply,) = (await ask(frame(message("timeout")), grpc_timeout=header)).replies
    # The deadline passes a little earlier than at the caller.
    assert 0.75 * seconds <= float(reply) <= seconds


@pytest.mark.parametrize("header", ["", "S", "1", "1x", "-1S", "1.5S", "9" * 400 + "S"])
async def test_invalid_timeout_is_ignored(header: str) -> None:
    assert (await ask(frame(message("timeout")), grpc_timeout=header)).replies == ["None"]


async def test_first_value_of_a_repeated_header_applies() -> None:
    headers = [(b"grpc-timeout", b"5S"), (b"x-name", b"first"), (b"x-name", b"then")]
    context = Context({"headers": [*headers, (b"grpc-timeout", b"1S")]})
    context.start_deadline(1)
    assert context.metadata("x-name") == "first"
    assert context.timeout_s is not None
    assert context.timeout_s > 4


async def test_metadata_reaches_the_servicer() -> None:
    assert (await ask(frame(message("metadata")), x_name="value")).replies == ["value"]


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/grpc-web", "application/grpc-web+proto", "application/grpcx"],
)
async def test_request_that_is_not_grpc_is_refused(content_type: str) -> None:
    answer = await ask(b"{}", content_type=content_type)
    assert answer.events[0]["status"] == 415


@pytest.mark.parametrize("content_type", ["application/grpc+proto", "application/grpc;x=1"])
async def test_formats_of_grpc_are_served(content_type: str) -> None:
    assert (await ask(frame(message("a")), content_type=content_type)).replies == ["a"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"method": "GET"}, 405),
        ({"query_string": b"x=1"}, 404),
    ],
)
async def test_request_that_names_no_method_is_refused(
    changes: dict[str, Any], status: int
) -> None:
    sent: list[Mapping[str, Any]] = []

    async def send(event: Mapping[str, Any]) -> None:
        sent.append(event)

    async def receive() -> Mapping[str, Any]:
        raise AssertionError("nothing is read")

    await application()(scope_of(**changes), receive, send)
    assert sent[0]["status"] == status


async def test_encoded_path_names_no_method() -> None:
    answer = await serve_echo(UnreadReplies(), raw_path=b"/t.T/%45cho")
    assert answer.code == code_pb2.UNIMPLEMENTED


async def test_call_that_cannot_get_a_status_is_not_served() -> None:
    answer = await ask(frame(message("a")), te="")
    assert answer.code == code_pb2.INTERNAL
    assert b"te: trailers" in answer.trailers[b"grpc-message"]
    assert answer.replies == []


@pytest.mark.parametrize("received", [b"", b"\0\0\0\0\x05abc"])
async def test_deadline_counts_from_the_headers(received: bytes) -> None:
    sent: list[Mapping[str, Any]] = []
    events = iter([{"type": "http.request", "body": received, "more_body": True}])

    async def receive() -> Mapping[str, Any]:
        for event in events:
            return event
        await asyncio.Event().wait()
        raise AssertionError

    async def send(event: Mapping[str, Any]) -> None:
        sent.append(event)

    scope = scope_of()
    scope["headers"].append((b"grpc-timeout", b"100m"))
    async with asyncio.timeout(30):
        await application()(scope, receive, send)
    assert Answer(sent).code == code_pb2.DEADLINE_EXCEEDED
    assert error_of(status_in(Answer(sent))).outcome is Outcome.NOT_APPLIED


def status_in(answer: Answer) -> status_pb2.Status:
    details = answer.trailers[b"grpc-status-details-bin"]
    return status_pb2.Status.FromString(b64decode(details + b"=" * (-len(details) % 4)))


async def test_reply_that_is_not_read_is_given_up() -> None:
    request = iter([{"type": "http.request", "body": frame(message("a"))}])

    async def receive() -> Mapping[str, Any]:
        return next(request)

    async def send(event: Mapping[str, Any]) -> None:
        if event.get("body"):
            await asyncio.Event().wait()

    limits = PeerLimits(UnreadReplies(), Turns(), timedelta(seconds=0.05))
    async with asyncio.timeout(30):
        app = GrpcOverAsgi(CALLS, max_message_bytes=LIMIT, limits=limits)
        await app(scope_of(), receive, send)
    assert (limits.stalled, limits.open_calls) == (1, 0)


async def test_calls_wait_while_replies_are_not_read() -> None:
    unread = UnreadReplies()
    unread.add("127.0.0.1:1", 32 << 20)
    calling = asyncio.create_task(serve_echo(unread))
    await asyncio.sleep(0.05)
    assert not calling.done()
    unread.release("127.0.0.1:1", 32 << 20)
    async with asyncio.timeout(30):
        assert (await calling).replies == ["a"]


async def serve_echo(unread: UnreadReplies, **changes: Any) -> Answer:
    answer = Answer()
    request = iter([{"type": "http.request", "body": frame(message("a"))}])

    async def receive() -> Mapping[str, Any]:
        return next(request)

    async def send(event: Mapping[str, Any]) -> None:
        answer.events.append(event)

    await application(unread)(scope_of(**changes), receive, send)
    return answer


async def test_unknown_method_is_unimplemented() -> None:
    answer = await ask(frame(b""), path="/t.T/Other")
    assert answer.code == code_pb2.UNIMPLEMENTED
    assert b"/t.T/Other" in answer.trailers[b"grpc-message"]


async def test_stream_answers_each_message_and_ends_with_a_status() -> None:
    answer = await ask(frame(message("a")) + frame(message("b"))[:3], frame(message("b"))[3:],
                       path="/t.T/Each")  # fmt: skip
    assert (answer.code, answer.replies) == (0, ["a", "b"])


async def test_stream_that_fails_midway_keeps_the_replies_sent_before() -> None:
    body = frame(message("a")) + frame(message("refuse")) + frame(message("c"))
    answer = await ask(body, path="/t.T/Each")
    assert answer.replies == ["a"]
    assert answer.code == code_pb2.INVALID_ARGUMENT


async def test_stream_without_messages_succeeds() -> None:
    answer = await ask(path="/t.T/Each")
    assert (answer.code, answer.replies) == (0, [])


async def test_stream_that_ends_within_a_message_is_internal() -> None:
    answer = await ask(frame(message("a")), b"\0\0", path="/t.T/Each")
    assert answer.code == code_pb2.INTERNAL


async def test_caller_that_goes_within_a_message_of_a_stream_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    arriving: list[Mapping[str, Any]] = [
        {"type": "http.request", "body": b"\0\0", "more_body": True},
        {"type": "http.disconnect"},
    ]
    answer = await ask_events(arriving, scope_of("/t.T/Each"))
    assert answer.code == 0
    assert not caplog.records


async def test_message_that_the_transport_refuses_is_logged_as_no_defect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = await ask(frame(message("a")), b"\0\0", path="/t.T/Each")
    assert answer.code == code_pb2.INTERNAL
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)


async def test_caller_of_an_unknown_method_that_sends_nothing_gets_an_answer() -> None:
    sent: list[Mapping[str, Any]] = []

    async def receive() -> Mapping[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(event: Mapping[str, Any]) -> None:
        sent.append(event)

    async with asyncio.timeout(30):
        await application()(scope_of("/t.T/Other"), receive, send)
    assert dict(sent[0]["headers"])[b"grpc-status"] == b"12"


class OverTurns(Turns):
    """A turn of the loop that has no time left."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[str] = []

    def has_time(self) -> bool:
        return False

    async def wait(self, connection: str) -> None:
        self.waited.append(connection)


@pytest.mark.parametrize("path", ["/t.T/Echo", "/t.T/Each"])
async def test_call_waits_for_its_turn_while_others_are_open(path: str) -> None:
    turns = OverTurns()
    limits = PeerLimits(UnreadReplies(), turns, timedelta(seconds=5))
    limits.open_calls = 1
    asked = GrpcOverAsgi(CALLS, max_message_bytes=LIMIT, limits=limits)
    answer = await ask(frame(message("a")), path=path, asked=asked)
    assert answer.replies == ["a"]
    assert turns.waited == ["127.0.0.1:1"]


async def test_stream_of_messages_that_came_together_waits_for_further_turns() -> None:
    turns = OverTurns()
    limits = PeerLimits(UnreadReplies(), turns, timedelta(seconds=5))
    asked = GrpcOverAsgi(CALLS, max_message_bytes=LIMIT, limits=limits)
    answer = await ask(frame(b"") * 100, path="/t.T/Each", asked=asked)
    assert answer.replies == [""] * 100
    assert len(turns.waited) > 5
