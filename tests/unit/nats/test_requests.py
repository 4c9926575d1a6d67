"""Answers reach their requests, however the network divides what the server sends."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import nats.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.protocol.parser import Parser

from prism.adapters.nats.requests import (
    Answer,
    AnswerParser,
    PendingRequest,
    PendingRequests,
    only_answer,
)
from prism.ports import BackendTimeout, BackendUnavailable, Outcome

HEADERS = b"NATS/1.0 404 Message Not Found\r\n\r\n"
STREAM = (
    b"+OK\r\n"
    b"MSG _INBOX.a.1 1 5\r\nhello\r\n"
    b"HMSG _INBOX.a.2 1 %d %d\r\n%b\r\n" % (len(HEADERS), len(HEADERS), HEADERS) + b"+OK\r\n"
    b"MSG _INBOX.a.3 1 2\r\n\r\n\r\n"
)
ANSWERS = [
    (b"_INBOX.a.1", b"", b"hello"),
    (b"_INBOX.a.2", HEADERS, b""),
    (b"_INBOX.a.3", b"", b"\r\n"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_answers_are_complete_wherever_the_data_is_cut(cuts: list[int]) -> None:
    answers: list[tuple[bytes, bytes, bytes]] = []

    async def parse() -> None:
        parser = AnswerParser(Client(), "_INBOX.a.", lambda *answer: answers.append(answer))
        for start, end in pairwise([0, *sorted(cuts), len(STREAM)]):
            await parser.parse(STREAM[start:end])

    asyncio.run(parse())
    assert answers == ANSWERS


async def test_data_that_is_not_the_protocol_is_an_error() -> None:
    parser = AnswerParser(Client(), "_INBOX.a.", lambda *_: None)
    with pytest.raises(nats.errors.ProtocolError):
        await parser.parse(b"MSG _INBOX.a.1 1 many\r\n")


@pytest.mark.parametrize("name", ["_ps", "_pending", "_pending_data_size", "_flush_queue"])
def test_library_still_has_the_private_attributes_that_are_used(name: str) -> None:
    assert hasattr(Client(), name)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(Client, "_close"), (Client, "_connect_command"), (Parser, "parse"), (Parser, "reset")],
)
def test_library_still_has_the_methods_that_are_overridden(owner: type, name: str) -> None:
    assert callable(getattr(owner, name))


async def test_request_without_an_answer_times_out() -> None:
    fired = asyncio.Event()
    pending = PendingRequests("server", 0.01, fired.set)
    with pytest.raises(BackendTimeout, match=r"server did not answer within 0\.01 s"):
        await pending.wait(PendingRequest("subject", only_answer), "_INBOX.a.1")
    assert fired.is_set()
    # An answer that comes too late belongs to no request.
    pending.receive(b"_INBOX.a.1", b"", b"late")


async def test_second_answer_to_a_request_is_ignored() -> None:
    request = PendingRequest("subject", only_answer)
    request.receive(Answer(b"", b"first"))
    request.receive(Answer(b"", b"second"))
    assert request.outcome.result() == Answer(b"", b"first")


async def test_read_is_asked_again_until_it_is_answered() -> None:
    asked = 0

    def ask() -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            pending.receive(b"_INBOX.a.1", b"NATS/1.0 503\r\n\r\n", b"")
        elif asked == 2:
            pending.receive(b"_INBOX.a.1", b"", b'{"error":{"code":503,"err_code":10008}}')
        else:
            pending.receive(b"_INBOX.a.1", b"", b"answer")

    pending = PendingRequests("server", 0.5, lambda: None)
    answer = await pending.wait(PendingRequest("subject", only_answer, ask), "_INBOX.a.1")
    assert answer.data == b"answer"
    assert asked == 3
    pending.close("done")


async def test_read_that_nobody_serves_ends_with_the_answer_of_the_server() -> None:
    pending = PendingRequests("server", 0.1, lambda: None)

    def ask() -> None:
        pending.receive(b"_INBOX.a.1", b"NATS/1.0 503\r\n\r\n", b"")

    with pytest.raises(BackendUnavailable, match="has no leader"):
        await pending.wait(PendingRequest("subject", only_answer, ask), "_INBOX.a.1")


async def test_write_that_nobody_serves_is_not_asked_again() -> None:
    pending = PendingRequests("server", 5, lambda: None)
    asyncio.get_running_loop().call_soon(
        pending.receive, b"_INBOX.a.1", b"NATS/1.0 503\r\n\r\n", b""
    )
    with pytest.raises(BackendUnavailable) as failure:
        await pending.wait(PendingRequest("subject", only_answer), "_INBOX.a.1")
    assert failure.value.outcome is Outcome.NOT_APPLIED
    pending.close("done")
