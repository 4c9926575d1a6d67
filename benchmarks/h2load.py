"""Unary calls over HTTP/2 by h2load, and a client that verifies the server's answers first.

https://nghttp2.org/documentation/h2load.1.html
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import grpc
from google.protobuf.message import Message

from benchmarks.processes import CannotRun, run
from prism.v1 import keyvalue_pb2 as pb

VALUE = bytes(range(64))
KEYS = [f"key:{number:07}" for number in range(1000)]

_SERVICE = "/prism.v1.KeyValueService/"


@dataclass(frozen=True, slots=True)
class Load:
    """One request, sent again and again over one connection.

    Attributes:
        method: method of `prism.v1.KeyValueService`.
        request: message of each call.
        in_flight: number of calls in flight.
        writes: keys that hold `VALUE` after a call.
        items: number of keys of each call.
        token: shown by each call; empty: none.
    """

    method: str
    request: Message
    in_flight: int
    writes: tuple[str, ...] = ()
    items: int = 1
    token: str = field(default="", repr=False)

    def __str__(self) -> str:
        size = len(self.request.SerializeToString())
        return f"{self.method}, body of {size:,} bytes, {self.in_flight} in flight, 1 connection"


GET = pb.GetRequest(key=KEYS[0])
SET = pb.SetRequest(key=KEYS[0], value=VALUE)
BATCH_SET = pb.BatchSetRequest(keys=KEYS, values=[VALUE] * len(KEYS))


class VerifyingClient:
    """Client made with grpcio that checks the answers of a server.

    Args:
        token: shown by each call; empty: none.
    """

    def __init__(self, address: str, token: str = "") -> None:
        self._address = address
        self._metadata = [_authorization(token)] if token else []
        self._channel = grpc.insecure_channel(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def call(self, method: str, request: Message) -> bytes:
        """Return the reply as bytes; raises grpc.RpcError."""
        unary: Callable[..., bytes] = self._channel.unary_unary(_SERVICE + method)
        return unary(request.SerializeToString(), timeout=10, metadata=self._metadata)

    def check(self, key: str, expected: bytes) -> None:
        """Raise CannotRun unless the key holds this value."""
        reply = pb.GetResponse.FromString(self.call("Get", pb.GetRequest(key=key)))
        if reply.entry.value != expected:
            raise CannotRun(
                f"{self._address} returned {reply.entry.value!r} for {key}, not {expected!r}"
            )

    def check_writes(self) -> None:
        """Check that reads return what was written; the first key then holds `VALUE`."""
        for value in (b"another", VALUE):
            self.call("Set", pb.SetRequest(key=KEYS[0], value=value))
            self.check(KEYS[0], value)

    def fill(self, keys: Sequence[str]) -> None:
        """Write `VALUE` to every key."""
        for first in range(0, len(keys), 1000):
            part = keys[first : first + 1000]
            self.call("BatchSet", pb.BatchSetRequest(keys=part, values=[VALUE] * len(part)))
        self.check(keys[-1], VALUE)


def verify(address: str, load: Load | None = None) -> int:
    """Check a server's answers; return the size in bytes of its reply to the load's request.

    Raises:
        CannotRun: a read did not return what was written.
    """
    with VerifyingClient(address, load.token if load else "") as client:
        client.check_writes()
        if load is None:
            return 0
        reply = client.call(load.method, load.request)
        for key in load.writes:
            client.check(key, VALUE)
        return len(reply)


class H2load:
    """Load on one server by h2load.

    Args:
        address: address of the server.
        load: request to send.
        reply_bytes: expected size of each reply. h2load does not read grpc-status, but an
            error has no message.
        core: processor core of h2load.
    """

    def __init__(self, address: str, load: Load, reply_bytes: int, core: int) -> None:
        self._load = load
        self._reply_bytes = reply_bytes
        self._core = core
        self._url = f"http://{address}{_SERVICE}{load.method}"

    def rate(self, seconds: float) -> float:
        """Return items per second; raise CannotRun if a reply was wrong."""
        return self._calls_done(seconds) * self._load.items / seconds

    def latencies(self, seconds: float) -> list[int]:
        """Return the duration of each call in µs, sorted; raise CannotRun as `rate` does."""
        with tempfile.NamedTemporaryFile() as log:
            done = self._calls_done(seconds, f"--log-file={log.name}")
            durations_us = logged_durations(Path(log.name).read_text())
        if len(durations_us) != done:
            raise CannotRun(f"h2load logged {len(durations_us):,} of {done:,} replies")
        return durations_us

    def _calls_done(self, seconds: float, *options: str) -> int:
        message = self._load.request.SerializeToString()
        if token := self._load.token:
            options = (*options, "-H", ": ".join(_authorization(token)))
        with tempfile.NamedTemporaryFile() as body:
            Path(body.name).write_bytes(framed(message))
            output = run(
                [
                    "h2load",
                    *("-c", "1", "-m", str(self._load.in_flight), "-D", f"{seconds * 1000:.0f}ms"),
                    *("-H", "content-type: application/grpc", "-H", "te: trailers"),
                    *("-d", body.name, *options, self._url),
                ],
                self._core,
            )
        return successful_calls(output, self._reply_bytes, self._load.in_flight)


def _authorization(token: str) -> tuple[str, str]:
    return "authorization", f"Bearer {token}"


def logged_durations(text: str) -> list[int]:
    """Return the durations of answered calls in µs, sorted, from a log of h2load."""
    calls = (line.split("\t") for line in text.splitlines())
    return sorted(int(duration) for _, status, duration, *_ in calls if status == "200")


def framed(message: bytes) -> bytes:
    """Return the message as gRPC sends it, uncompressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def successful_calls(output: str, reply_bytes: int, in_flight: int) -> int:
    """Return the number of calls from h2load's output, after checking their replies.

    Args:
        output: what h2load printed.
        reply_bytes: expected size of each reply.
        in_flight: number of replies that may be incomplete at the end.

    Raises:
        CannotRun: a call failed, or a reply has another size.
    """
    done, failed = _numbers(r"(\d+) done, \d+ succeeded, (\d+) failed", output)
    (ok,) = _numbers(r"status codes: (\d+) 2xx", output)
    (data,) = _numbers(r"\((\d+)\) data", output)
    expected = done * (reply_bytes + 5)
    if not done or failed or ok < done:
        raise CannotRun(f"h2load reported failures: {output.strip()[-400:]}")
    if not expected <= data <= expected + in_flight * (reply_bytes + 5):
        raise CannotRun(f"h2load read {data:,} bytes in {done:,} replies, expected {expected:,}")
    return done


def _numbers(pattern: str, output: str) -> list[int]:
    found = re.search(pattern, output)
    if found is None:
        raise CannotRun(f"h2load did not run: {output.strip()[-400:]}")
    return [int(number) for number in found.groups()]
