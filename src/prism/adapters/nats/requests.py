"""Requests and their answers over one client of nats-py.

`AnswerClient` takes answers out of what the server sends and hands them to `PendingRequests`.
The library's own requests would parse every header, and pass each answer through a queue and a
task: three quarters of what an answer costs. This file alone uses private names of nats-py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import nats.errors
from nats.aio.client import Client
from nats.protocol.parser import Parser

from prism.adapters.nats.errors import access_denied, connection_lost, no_responders
from prism.ports import BackendTimeout, PrismError

MessageT = TypeVar("MessageT")
OutcomeT = TypeVar("OutcomeT")

AnswerCallback = Callable[[bytes, bytes, bytes], None]
"""Called with subject, undecoded headers, and data of a message; must not raise."""

_LINE_END = b"\r\n"
_NO_RESPONDERS = b"NATS/1.0 503"
_NO_LEADER = b'"code":503'
_ERROR_BYTES = 256
"""Bytes of an answer of JetStream's API within which an error stands."""

_ASKS_PER_TIMEOUT = 5
_CHECKS_PER_ASK = 4
_TIMER_RESOLUTION_S = 0.001
"""A timer may fire early by this."""


class Answer(NamedTuple):
    """Message that answers a request.

    Attributes:
        headers: undecoded headers, beginning with the line of the protocol version; may be empty.
    """

    headers: bytes
    data: bytes

    @property
    def status(self) -> bytes:
        """Three digits in a message of the server itself; empty in all other messages."""
        return self.headers[9:12] if self.headers.startswith(b"NATS/1.0 ") else b""


class PendingRequest(Generic[MessageT, OutcomeT]):
    """Request whose outcome a caller waits for.

    Args:
        collect: gets each message; returns the outcome after the last one, else None.
        ask_again: sends the request once more; None for a request that must not be repeated.

    Attributes:
        deadline: time by the event loop's clock, in seconds.
        ask_again_at: time by that clock at which to send the request once more.
        refusal: error with which the server answered that nobody leads now; None: no such answer.
        outcome: future of the result. An error is set as its result, not as its exception:
            asyncio logs an exception that nobody retrieves, as when the caller was cancelled.
    """

    __slots__ = (
        "_collect", "ask_again", "ask_again_at", "deadline", "outcome", "refusal", "subject",
    )  # fmt: skip

    def __init__(
        self,
        subject: str,
        collect: Callable[[MessageT], OutcomeT | None],
        ask_again: Callable[[], None] | None = None,
    ) -> None:
        self.subject = subject
        self.ask_again = ask_again
        self.ask_again_at = 0.0
        self.deadline = 0.0
        self.refusal: PrismError | None = None
        self._collect = collect
        self.outcome: asyncio.Future[OutcomeT | PrismError]
        self.outcome = asyncio.get_running_loop().create_future()

    def receive(self, message: MessageT) -> None:
        """Process a message that answers the request."""
        outcome = self._collect(message)
        if outcome is not None and not self.outcome.done():
            self.outcome.set_result(outcome)

    def fail(self, error: PrismError) -> None:
        """Set the error as the outcome, unless there is an outcome."""
        if not self.outcome.done():
            self.outcome.set_result(error)


def only_answer(answer: Answer) -> Answer:
    """Collect the answer of a request that one message answers."""
    return answer


def messages_until(
    is_last: Callable[[MessageT], bool],
) -> Callable[[MessageT], list[MessageT] | None]:
    """Return a function that collects messages up to the one for which `is_last` is true."""
    messages: list[MessageT] = []

    def collect(message: MessageT) -> list[MessageT] | None:
        messages.append(message)
        return messages if is_last(message) else None

    return collect


class PendingRequests:
    """All unanswered requests of one connection, by the subjects of their answers.

    One timer serves all of them: a timer for each would cost more than all else here. Another one
    serves those that may be repeated: while the servers elect a leader, they ignore requests.

    Args:
        timeout_s: time limit of every request, so that requests expire in the order they began.
        on_timer: called whenever the timer fired.
    """

    def __init__(self, address: str, timeout_s: float, on_timer: Callable[[], None]) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._on_timer = on_timer
        self._pending: dict[bytes, PendingRequest[Any, Any]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._ask_timer: asyncio.TimerHandle | None = None
        self._ask_interval_s = timeout_s / _ASKS_PER_TIMEOUT

    async def wait(self, request: PendingRequest[MessageT, OutcomeT], reply: str) -> OutcomeT:
        """Return the outcome of a request that was just sent; raise it if it is an error.

        Args:
            reply: subject of the answers.
        """
        loop = asyncio.get_running_loop()
        request.deadline = loop.time() + self._timeout_s
        if self._timer is None:
            self._timer = loop.call_at(request.deadline, self._expire)
        if request.ask_again is not None:
            request.ask_again_at = loop.time() + self._ask_interval_s
            if self._ask_timer is None:
                self._start_ask_timer()
        key = reply.encode()
        self._pending[key] = request
        try:
            outcome = await request.outcome
        finally:
            del self._pending[key]
        if isinstance(outcome, PrismError):
            raise outcome
        return outcome

    def receive(self, subject: bytes, headers: bytes, data: bytes) -> None:
        """Hand an answer to its request; ignore an answer that comes after the request ended."""
        request = self._pending.get(subject)
        if request is None:
            return
        if headers.startswith(_NO_RESPONDERS) or (
            request.ask_again is not None and _NO_LEADER in data[:_ERROR_BYTES]
        ):
            self._refuse(request)
        else:
            request.receive(Answer(headers, data))

    def _refuse(self, request: PendingRequest[Any, Any]) -> None:
        """Fail a request that no server handles now, or ask again if it may be repeated."""
        error = no_responders(self._address)
        if request.ask_again is None:
            request.fail(error)
        else:
            request.refusal = error
            request.ask_again_at = 0.0

    def deny(self, lower_case_subject: str) -> None:
        """Fail the requests to a subject that the server does not allow."""
        for request in self._pending.values():
            if request.subject.lower() == lower_case_subject:
                request.fail(access_denied(request.subject, self._address))

    def close(self, reason: str) -> None:
        """Stop the timer and fail all requests."""
        if self._timer is not None:
            self._timer.cancel()
        if self._ask_timer is not None:
            self._ask_timer.cancel()
        for request in self._pending.values():
            request.fail(connection_lost(self._address, reason))

    def _expire(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time() + _TIMER_RESOLUTION_S
        for request in self._pending.values():
            if request.deadline > now:
                self._timer = loop.call_at(request.deadline, self._expire)
                break
            request.fail(
                request.refusal
                or BackendTimeout(f"{self._address} did not answer within {self._timeout_s:g} s")
            )
        self._on_timer()

    def _start_ask_timer(self) -> None:
        delay_s = self._ask_interval_s / _CHECKS_PER_ASK
        self._ask_timer = asyncio.get_running_loop().call_later(delay_s, self._ask_again)

    def _ask_again(self) -> None:
        self._ask_timer = None
        now = asyncio.get_running_loop().time()
        repeatable = [each for each in self._pending.values() if each.ask_again is not None]
        for request in repeatable:
            if request.ask_again_at <= now and request.ask_again is not None:
                request.ask_again_at = now + self._ask_interval_s
                request.ask_again()
        if repeatable:
            self._start_ask_timer()


class AnswerClient(Client):
    """nats-py's client, with a faster path for answers and two defects corrected.

    The library sends its credentials unencrypted to a server that does not offer the TLS that was
    asked for. And on closing, it writes what is still unsent: on a broken connection that fails,
    so that it neither reports its end nor ends its tasks.

    Args:
        inbox: prefix of the subjects whose messages are answers.
        on_answer: called with each answer.
    """

    def __init__(self, inbox: str, on_answer: AnswerCallback) -> None:
        super().__init__()
        self._ps = AnswerParser(self, inbox, on_answer)

    def send(self, command: bytes) -> None:
        """Queue a command; all commands of one turn of the event loop are written together.

        Raises:
            nats.errors.ConnectionClosedError: the command was not queued.
        """
        if not self.is_connected or self._flush_queue is None:
            raise nats.errors.ConnectionClosedError
        self._pending.append(command)
        self._pending_data_size += len(command)
        if self._flush_queue.empty():
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        self._pending, self._pending_data_size = [], 0
        await super()._close(status, do_cbs)

    def _connect_command(self) -> bytes:
        if "tls" in self.options and not self._server_info.get("tls_required"):
            raise nats.errors.SecureConnWantedError
        return super()._connect_command()


class AnswerParser(Parser):
    """Parser that takes out answers and leaves all other messages to the library."""

    def __init__(self, client: Client, inbox: str, on_answer: AnswerCallback) -> None:
        self._inbox = inbox.encode()
        self._on_answer = on_answer
        super().__init__(client)

    def reset(self) -> None:
        """Forget an incomplete message."""
        super().reset()
        self._parts: list[bytes] = []
        self._missing = 0

    async def parse(self, data: bytes = b"") -> None:
        """Process each complete message, and keep an incomplete one until the rest arrives.

        Raises:
            nats.errors.ProtocolError: the data is not the protocol of NATS.
        """
        if self._parts:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        at, size = 0, len(data)
        while at < size:
            body = data.find(_LINE_END, at) + 2
            if body == 1:
                # The line is incomplete; a single byte may complete it.
                self._keep(data[at:], 1)
                return
            has_headers = data.startswith(b"HMSG ", at)
            if not has_headers and not data.startswith(b"MSG ", at):
                await super().parse(data[at:body])
                at = body
                continue
            line = data[at:body].split()
            try:
                end = body + int(line[-1])
                split = body + int(line[-2]) if has_headers else body
            except ValueError:
                raise nats.errors.ProtocolError from None
            if end + 2 > size:
                self._keep(data[at:], end + 2 - size)
                return
            if line[1].startswith(self._inbox):
                self._on_answer(line[1], data[body:split], data[split:end])
            else:
                await super().parse(data[at : end + 2])
            at = end + 2

    def _keep(self, part: bytes, missing: int) -> None:
        self._parts.append(part)
        self._missing = missing
