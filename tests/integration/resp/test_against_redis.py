"""Random sequences of commands get the same replies from Redis and from Prism, byte for byte.

What differs on purpose is left out of the sequences, and listed in docs/redis-clients.md.
"""

from __future__ import annotations

import contextlib
import shlex
import socket
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from hiredis import Reader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.resp.conftest import ServeBackend, port_of
from tests.servers.redis import RedisServer, program_in_wheel

Command = tuple[bytes, ...]

_KEYS = st.sampled_from([b"a", b"b", "ü".encode()])
_VALUES = st.sampled_from(
    [
        *(b"", b"1", b"-5", b"10", b"abc", b"3.25", b"007", b"+1", b" 1", b"9223372036854775807"),
        *(b"x\r\ny", b"\x00\xff", b"v" * 2000),
    ]
)
_INTEGERS = st.sampled_from(
    [
        *(b"0", b"1", b"-1", b"5", b"-7", b"100", b"01", b"x", b"", b"9223372036854775807"),
        *(b"-9223372036854775808", b"9223372036854775808"),
    ]
)
_FLOATS = st.sampled_from(
    [b"0.5", b"-2.25", b"1e1", b"x", b"", b"0", b".5", b"5.", b"-0", b"1000.1"]
)
# Far ahead, so that no key expires while a sequence runs; and the past.
_SECONDS = st.sampled_from([b"100", b"5000", b"0", b"-1", b"x"])
_MILLISECONDS = st.sampled_from([b"100000", b"5000000", b"0", b"-1"])
_POINTS = st.sampled_from([b"4000000000", b"1", b"0"])
_OFFSETS = st.sampled_from([b"0", b"1", b"3", b"-1", b"-2", b"-100", b"100", b"x"])


def _command(name: str, *arguments: st.SearchStrategy[bytes]) -> st.SearchStrategy[Command]:
    return st.tuples(st.sampled_from([name.encode(), name.upper().encode()]), *arguments)


def _any_of(*words: str) -> st.SearchStrategy[bytes]:
    return st.sampled_from([word.encode() for word in words])


def _some(*words: str) -> st.SearchStrategy[Command]:
    return st.lists(_any_of(*words), max_size=2).map(tuple)


_EXPIRY: st.SearchStrategy[Command] = st.one_of(
    st.just(()),
    st.tuples(_any_of("EX", "ex"), _SECONDS),
    st.tuples(_any_of("PX"), _MILLISECONDS),
    st.tuples(_any_of("EXAT"), _POINTS),
    st.tuples(_any_of("PXAT"), _POINTS.map(lambda point: point + b"000")),
    st.just((b"KEEPTTL",)),
    st.just((b"PERSIST",)),
    st.just((b"EX",)),
)

_SET = st.tuples(_command("set", _KEYS, _VALUES), _some("NX", "XX", "GET", "get"), _EXPIRY).map(
    lambda parts: sum(parts, ())
)
_GETEX = st.tuples(_command("getex", _KEYS), _EXPIRY).map(lambda parts: sum(parts, ()))
_EXPIRE = st.tuples(
    st.one_of(
        _command("expire", _KEYS, _SECONDS),
        _command("pexpire", _KEYS, _MILLISECONDS),
        _command("expireat", _KEYS, _POINTS),
    ),
    _some("NX", "XX", "GT", "LT", "no"),
).map(lambda parts: sum(parts, ()))

_KEY_LISTS = st.lists(_KEYS, min_size=1, max_size=4).map(tuple)


def _listed(name: str) -> st.SearchStrategy[Command]:
    return _KEY_LISTS.map(lambda keys: (name.encode(), *keys))


COMMANDS: st.SearchStrategy[Command] = st.one_of(
    _command("get", _KEYS),
    _SET,
    _SET,
    _command("setnx", _KEYS, _VALUES),
    _command("setex", _KEYS, _SECONDS, _VALUES),
    _command("psetex", _KEYS, _MILLISECONDS, _VALUES),
    _command("getset", _KEYS, _VALUES),
    _command("getdel", _KEYS),
    _GETEX,
    _command("append", _KEYS, _VALUES),
    _command("strlen", _KEYS),
    _command("getrange", _KEYS, _OFFSETS, _OFFSETS),
    _command("substr", _KEYS, _OFFSETS, _OFFSETS),
    _command("setrange", _KEYS, _OFFSETS, _VALUES),
    _listed("mget"),
    _command("mset", _KEYS, _VALUES, _KEYS, _VALUES),
    _command("mset", _KEYS, _VALUES, _KEYS),
    _command("msetnx", _KEYS, _VALUES),
    _command("incr", _KEYS),
    _command("decr", _KEYS),
    _command("incrby", _KEYS, _INTEGERS),
    _command("decrby", _KEYS, _INTEGERS),
    _command("incrbyfloat", _KEYS, _FLOATS),
    _listed("del"),
    _listed("unlink"),
    _listed("exists"),
    _listed("touch"),
    _command("type", _KEYS),
    _command("copy", _KEYS, _KEYS),
    _command("copy", _KEYS, _KEYS, _any_of("REPLACE", "no")),
    _EXPIRE,
    _command("ttl", _KEYS),
    _command("pttl", _KEYS),
    _command("expiretime", _KEYS),
    _command("pexpiretime", _KEYS),
    _command("persist", _KEYS),
    _command("keys", _any_of("*", "a*", "[ab]", "?", "nothing")),
    _command("scan", _any_of("0", "x"), _any_of("COUNT", "MATCH"), _any_of("1000", "*", "0")),
    _command("dbsize"),
    _command("get"),
    _command("echo", _VALUES),
    _command("ping", _VALUES),
    _command("select", _any_of("0", "x")),
    _command("hello", _any_of("2", "3", "4", "x")),
    _command("client", _any_of("getname")),
    _command("client", _any_of("setname"), _any_of("me", "a b", "")),
)

_TIMES = (b"ttl", b"pttl", b"expiretime", b"pexpiretime")
_UNORDERED = (b"keys", b"scan")
_NOT_IN_TRANSACTIONS = (b"dbsize", b"hello", b"client", b"select", b"watch")

_TOGETHER: st.SearchStrategy[Command] = st.one_of(
    _command("rename", _KEYS, _KEYS),
    _command("renamenx", _KEYS, _KEYS),
    _command("msetnx", _KEYS, _VALUES, _KEYS, _VALUES),
    _command("watch", _KEYS),
    _command("unwatch"),
    _command("exec"),
    _command("discard"),
)
"""Commands that need transactions of the backend, or look for one that was begun."""

_QUEUED = st.one_of(COMMANDS, _TOGETHER).filter(
    lambda command: (
        command[0].lower() not in (*_TIMES, *_UNORDERED, *_NOT_IN_TRANSACTIONS)
        and b"GT" not in command
    )
)
_BLOCK = st.tuples(
    st.lists(_QUEUED, max_size=8), st.sampled_from([b"exec", b"EXEC", b"discard"])
).map(lambda parts: [(b"multi",), *parts[0], (parts[1],)])

_SINGLE = COMMANDS.map(lambda command: [command])
_SEQUENCES = st.lists(_SINGLE, min_size=1, max_size=25)
_SEQUENCES_WITH_TRANSACTIONS = st.lists(
    st.one_of(_SINGLE, _SINGLE, _TOGETHER.map(lambda command: [command]), _BLOCK),
    min_size=1,
    max_size=15,
)


class RawConnection:
    """Connection that returns the bytes of each reply."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)

    def ask(self, command: Command) -> bytes:
        parts = [b"$%d\r\n%b\r\n" % (len(each), each) for each in command]
        self._socket.sendall(b"*%d\r\n%b" % (len(command), b"".join(parts)))
        reader, data = Reader(notEnoughData=Ellipsis), b""
        while reader.gets() is Ellipsis:
            piece = self._socket.recv(1 << 16)
            assert piece, f"closed instead of an answer to {command}"
            reader.feed(piece)
            data += piece
        return data

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def redis_to_compare() -> Iterator[RedisServer]:
    # Replies differ between versions, and Valkey has its own: those of Redis 8 are the reference.
    with RedisServer({"appendfsync": "no"}, program_in_wheel()) as server:
        yield server


def _value_of(reply: bytes) -> object:
    reader = Reader()
    reader.feed(reply)
    return reader.gets()


def _assert_alike(command: Command, expected: bytes, actual: bytes, granularity_ms: int) -> None:
    name = command[0].lower()
    if expected == actual:
        return
    if name in _TIMES and expected[:1] == actual[:1] == b":":
        times = int(expected[1:]), int(actual[1:])
        unit_ms = 1 if name.startswith(b"p") else 1000
        # The two servers ran the commands some time apart.
        slack = (granularity_ms + 5000) // unit_ms
        assert min(times) >= 0
        assert abs(times[0] - times[1]) <= slack, command
    elif name in _UNORDERED and expected[:1] == actual[:1] == b"*":
        assert _sorted(_value_of(expected)) == _sorted(_value_of(actual)), command
    elif name == b"hello" and expected[:1] in b"*%":
        # The version of the server, and the id of the connection.
        assert actual[:1] == expected[:1]
    else:
        assert actual == expected, command


_FORMS = Path(__file__).with_name("forms.txt")
_BEFORE = ("flushdb", "set s hello", "set n 10", "set t v px 5000000", "set f 3.5")


@pytest.mark.parametrize("protocol", [2, 3])
def test_rare_forms_get_the_replies_of_redis(
    protocol: int, redis_port: int, redis_to_compare: RedisServer
) -> None:
    sequences = [line for line in _FORMS.read_text().splitlines() if not line.startswith("#")]
    different = []
    for sequence in sequences:
        commands = [_words(each) for each in sequence.split(";")]
        expected, actual = (
            _replies(port, protocol, commands) for port in (redis_to_compare.port, redis_port)
        )
        for command, one, other in zip(commands, expected, actual, strict=True):
            if command[0] in _TIMES:
                _assert_alike(command, one, other, granularity_ms=1)
            elif one != other:
                different.append((sequence, command, one, other))
    assert different == []


def _replies(port: int, protocol: int, commands: list[Command]) -> list[bytes]:
    with contextlib.closing(RawConnection(port)) as connection:
        for command in (f"hello {protocol}", *_BEFORE):
            connection.ask(_words(command))
        return [connection.ask(command) for command in commands]


def _words(line: str) -> Command:
    return tuple(word.encode() for word in shlex.split(line))


def _sorted(reply: object) -> list[object]:
    assert isinstance(reply, list)
    return (
        sorted(reply)
        if all(isinstance(each, bytes) for each in reply)
        else [reply[0], sorted(reply[1])]
    )


@pytest.mark.parametrize(
    ("driver", "granularity_ms", "examples", "sequences"),
    [
        ("memstore", 1, 150, _SEQUENCES_WITH_TRANSACTIONS),
        ("sqlite", 1, 60, _SEQUENCES_WITH_TRANSACTIONS),
        ("redis", 1, 60, _SEQUENCES_WITH_TRANSACTIONS),
        ("nats", 1000, 40, _SEQUENCES),
    ],
    ids=["memstore", "sqlite", "redis", "nats"],
)
def test_replies_are_those_of_redis(
    driver: str,
    granularity_ms: int,
    examples: int,
    sequences: st.SearchStrategy[list[list[Command]]],
    serve_backend: ServeBackend,
    redis_to_compare: RedisServer,
) -> None:
    port = port_of(serve_backend(driver))

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(sequences)
    def compare(blocks: list[list[Command]]) -> None:
        with (
            contextlib.closing(RawConnection(redis_to_compare.port)) as real,
            contextlib.closing(RawConnection(port)) as prism,
        ):
            for each in (real, prism):
                assert each.ask((b"FLUSHDB",)) == b"+OK\r\n"
            for command in chain.from_iterable(blocks):
                if b"GT" in command:
                    # The same ttl ends later only if it is given in a later millisecond.
                    time.sleep(0.002)
                expected, actual = real.ask(command), prism.ask(command)
                _assert_alike(command, expected, actual, granularity_ms)

    compare()
