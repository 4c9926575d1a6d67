"""The parser returns what was sent, in whatever pieces it arrives, and bounds all of it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prism.adapters.resp.parser import MAX_ARGUMENTS, ProtocolError, RequestParser, split_inline

_LIMIT = 1 << 20

_arguments = st.binary(max_size=30) | st.sampled_from(
    [b"\r\n", b"*2\r\n", b"x" * 1023, b"y" * 1500]
)
_commands = st.lists(st.lists(_arguments, min_size=1, max_size=6), max_size=8)


def encode(*arguments: bytes) -> bytes:
    parts = [b"$%d\r\n%b\r\n" % (len(each), each) for each in arguments]
    return b"*%d\r\n%b" % (len(arguments), b"".join(parts))


def _parse_all(parser: RequestParser, limit: int) -> list[list[bytes]]:
    commands = parser.parse(limit)
    while parser.has_more:
        commands += parser.parse(limit)
    return commands


@settings(deadline=None)
@given(_commands, st.lists(st.integers(1, 400), min_size=1), st.integers(1, 5))
def test_commands_arrive_whole_in_whatever_pieces_they_are_sent(
    commands: list[list[bytes]], sizes: list[int], limit: int
) -> None:
    data = b"".join(encode(*command) for command in commands)
    parser = RequestParser(_LIMIT)
    parsed = []
    at = piece = 0
    while at < len(data):
        size = sizes[piece % len(sizes)]
        part = data[at : at + size]
        if (only := parser.only(part)) is not None:
            parsed.append(only)
        else:
            parser.feed(part)
            parsed += _parse_all(parser, limit)
        at, piece = at + size, piece + 1
    assert parsed == commands
    assert parser.is_between
    assert parser.buffered == 0


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_a_command_of_one_key_that_arrives_alone_is_taken_as_it_is(name: bytes, key: bytes) -> None:
    parser = RequestParser(_LIMIT)
    only = parser.only(encode(name, key))
    assert only == (None if b"\r\n" in name + key else [name, key])


@pytest.mark.parametrize(
    "before", [b"*2\r\n", b"*1\r\n$90\r\n", encode(b"GET", b"a") * 3, b"PIN"], ids=repr
)
def test_a_command_is_not_taken_ahead_of_what_came_before_it(before: bytes) -> None:
    parser = RequestParser(_LIMIT)
    parser.feed(before)
    parser.parse(2)
    assert parser.only(encode(b"GET", b"b")) is None


def test_parsing_stops_at_the_limit_and_goes_on_later() -> None:
    parser = RequestParser(_LIMIT)
    parser.feed(encode(b"GET", b"a") * 5)
    assert len(parser.parse(2)) == 2
    assert parser.has_more
    assert len(parser.parse(2)) == 2
    assert parser.parse(2) == [[b"GET", b"a"]]
    assert not parser.has_more


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"*99999999999\r\n", "multibulk"),
        (b"*%d\r\n" % (MAX_ARGUMENTS + 1), "multibulk"),
        (b"*" + b"1" * 40, "multibulk"),
        (b"*02\r\n", "multibulk"),
        (b"*x\r\n", "multibulk"),
        (b"*1\r\n$%d\r\n" % (_LIMIT + 1), "bulk"),
        (b"*1\r\n$-1\r\n", "bulk"),
        (b"*1\r\n$+3\r\nGET\r\n", "bulk"),
        (b"*1\r\n$" + b"1" * 40, "bulk"),
        (b"*2\r\n*1\r\n", "expected '$'"),
        (b"*1\r\n:1\r\n", "expected '$'"),
        (b"*1\r\n$3\r\nGETxx", "end of an argument"),
        (b"a" * (64 << 10), "too big inline"),
        (b'GET "a\r\n', "unbalanced quotes"),
        (b"POST / HTTP/1.1\r\n", "HTTP"),
        (b"get /metrics HTTP/1.1\r\n", "HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP"),
        (b"Host: localhost\r\n", "HTTP"),
        (b"\x16\x03\x01\x02\x00", "TLS"),
    ],
)
def test_what_is_no_command_is_refused(sent: bytes, told: str) -> None:
    parser = RequestParser(_LIMIT)
    parser.feed(encode(b"PING") + sent)
    assert parser.parse(10) == [[b"PING"]]
    with pytest.raises(ProtocolError, match=told.replace("$", r"\$")):
        parser.parse(10)


def test_a_value_may_look_like_http() -> None:
    parser = RequestParser(_LIMIT)
    parser.feed(b"SET greeting HTTP/1.1\r\n" + encode(b"POST", b"Host:"))
    assert parser.parse(10) == [[b"SET", b"greeting", b"HTTP/1.1"], [b"POST", b"Host:"]]


def test_an_argument_that_ends_wrongly_in_a_later_piece_is_refused() -> None:
    parser = RequestParser(_LIMIT)
    parser.feed(b"*1\r\n$3\r\nGE")
    assert parser.parse(10) == []
    parser.feed(b"Txx")
    with pytest.raises(ProtocolError, match="end of an argument"):
        parser.parse(10)


def test_all_arguments_of_a_command_count_together() -> None:
    parser = RequestParser(100)
    parser.feed(b"*3\r\n" + b"$60\r\n" + b"x" * 60 + b"\r\n$60\r\n")
    with pytest.raises(ProtocolError, match="more than 100 bytes"):
        parser.parse(10)


def test_a_header_allocates_nothing() -> None:
    parser = RequestParser(_LIMIT)
    parser.feed(b"*%d\r\n$%d\r\n" % (MAX_ARGUMENTS, _LIMIT))
    assert parser.parse(10) == []
    assert 0 < parser.buffered < 1000


def test_bytes_that_come_one_by_one_take_linear_time() -> None:
    def seconds(count: int) -> float:
        data = b"*%d\r\n" % count + b"$1\r\nx\r\n" * count
        parser = RequestParser(_LIMIT)
        begin = time.process_time()
        for at in range(len(data)):
            parser.feed(data[at : at + 1])
            parser.parse(10)
        assert parser.is_between
        return time.process_time() - begin

    few, many = min(seconds(200) for _ in range(3)), min(seconds(2000) for _ in range(3))
    assert many < 30 * few


def test_empty_commands_are_left_out() -> None:
    parser = RequestParser(_LIMIT)
    parser.feed(b"*0\r\n*-1\r\n\r\n  \r\nPING\n" + encode(b"ECHO", b""))
    assert parser.parse(10) == [[b"PING"], [b"ECHO", b""]]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"SET  a\tb", [b"SET", b"a", b"b"]),
        (b'SET "a b" "\\x41\\n\\""', [b"SET", b"a b", b'A\n"']),
        (b"SET 'a \\' b' c", [b"SET", b"a ' b", b"c"]),
        (b'ECHO ""', [b"ECHO", b""]),
    ],
)
def test_inline_commands_are_split_as_redis_does(line: bytes, words: list[bytes]) -> None:
    assert split_inline(line) == words


@pytest.mark.parametrize("line", [b'"a"b', b"'a", b'a"b"', b'"a\\"'])
def test_quotes_must_end(line: bytes) -> None:
    with pytest.raises(ValueError, match="unbalanced"):
        split_inline(line)
