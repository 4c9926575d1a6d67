"""Unary calls over HTTP/2 by h2load, and a stock client that verifies the answers first.

https://nghttp2.org/documentation/h2load.1.html
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    """One request, sent again and again.

    Attributes:
        in_flight: streams of one connection.
        writes: keys that hold the value afterwards.
        items: keys that one call is about.
    """

    method: str
    request: Message
    in_flight: int
    writes: tuple[str, ...] = ()
    items: int = 1

    def __str__(self) -> str:
        size = len(self.request.SerializeToString())
        return f"{self.method}, body of {size:,} bytes, {self.in_flight} in flight, 1 connection"


GET = pb.GetRequest(key=KEYS[0])
SET = pb.SetRequest(key=KEYS[0], value=VALUE)
BATCH_SET = pb.BatchSetRequest(keys=KEYS, values=[VALUE] * len(KEYS))


class StockClient:
    """grpcio's own, which believes what it is told: the one that verifies."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._channel = grpc.insecure_channel(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def call(self, method: str, request: Message) -> bytes:
        """The answer, as bytes; raises grpc.RpcError."""
        answer: Callable[..., bytes] = self._channel.unary_unary(_SERVICE + method)
        return answer(request.SerializeToString(), timeout=10)

    def check(self, key: str, expected: bytes) -> None:
        """Raises CannotRun when the key holds something else."""
        reply = pb.GetResponse.FromString(self.call("Get", pb.GetRequest(key=key)))
        if reply.entry.value != expected:
            raise CannotRun(f"{self._address} answers {reply.entry.value!r} for {key}")

    def check_writes(self) -> None:
        """What is set is what is read; `VALUE` stays under the first of the keys."""
        for value in (b"another", VALUE):
            self.call("Set", pb.SetRequest(key=KEYS[0], value=value))
            self.check(KEYS[0], value)

    def fill(self, keys: Sequence[str]) -> None:
        """Every key holds `VALUE`."""
        for first in range(0, len(keys), 1000):
            part = keys[first : first + 1000]
            self.call("BatchSet", pb.BatchSetRequest(keys=part, values=[VALUE] * len(part)))
        self.check(keys[-1], VALUE)


def verify(address: str, load: Load | None = None) -> int:
    """Bytes of the answer to the load's request, once it is seen to be right.

    Raises:
        CannotRun: what was read is not what was written.
    """
    with StockClient(address) as client:
        client.check_writes()
        if load is None:
            return 0
        reply = client.call(load.method, load.request)
        for key in load.writes:
            client.check(key, VALUE)
        return len(reply)


class H2load:
    """A load on one server.

    Args:
        reply_bytes: of each answer; h2load reads no grpc-status, and an error has none.
    """

    def __init__(self, address: str, load: Load, reply_bytes: int, core: int) -> None:
        self._load = load
        self._reply_bytes = reply_bytes
        self._core = core
        self._url = f"http://{address}{_SERVICE}{load.method}"

    def rate(self, seconds: float) -> float:
        """Items a second; raises CannotRun when an answer was not what it should be."""
        return self._done(seconds) * self._load.items / seconds

    def latencies(self, seconds: float) -> list[int]:
        """What each call took, in µs, the shortest first; raises as `rate` does."""
        with tempfile.NamedTemporaryFile() as log:
            done = self._done(seconds, f"--log-file={log.name}")
            took_us = logged(Path(log.name).read_text())
        if len(took_us) != done:
            raise CannotRun(f"h2load logged {len(took_us):,} of {done:,} answers")
        return took_us

    def _done(self, seconds: float, *options: str) -> int:
        message = self._load.request.SerializeToString()
        with tempfile.NamedTemporaryFile() as body:
            Path(body.name).write_bytes(framed(message))
            printed = run(
                [
                    "h2load",
                    *("-c", "1", "-m", str(self._load.in_flight), "-D", f"{seconds * 1000:.0f}ms"),
                    *("-H", "content-type: application/grpc", "-H", "te: trailers"),
                    *("-d", body.name, *options, self._url),
                ],
                self._core,
            )
        return succeeded(printed, self._reply_bytes, self._load.in_flight)


def logged(text: str) -> list[int]:
    """From a log of h2load: what each answered call took, in µs, the shortest first."""
    calls = (line.split("\t") for line in text.splitlines())
    return sorted(int(took_us) for _, status, took_us, *_ in calls if status == "200")


def framed(message: bytes) -> bytes:
    """As gRPC sends it, uncompressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def succeeded(printed: str, reply_bytes: int, in_flight: int) -> int:
    """How many calls were answered as they should be, from what h2load prints.

    Args:
        in_flight: so many answers may be under way when the time is up.

    Raises:
        CannotRun: some were not.
    """
    done, failed = _numbers(r"(\d+) done, \d+ succeeded, (\d+) failed", printed)
    (ok,) = _numbers(r"status codes: (\d+) 2xx", printed)
    (data,) = _numbers(r"\((\d+)\) data", printed)
    expected = done * (reply_bytes + 5)
    if not done or failed or ok < done:
        raise CannotRun(f"h2load had failures: {printed.strip()[-400:]}")
    if not expected <= data <= expected + in_flight * (reply_bytes + 5):
        raise CannotRun(f"h2load read {data:,} bytes in {done:,} answers, not {expected:,}")
    return done


def _numbers(pattern: str, printed: str) -> list[int]:
    found = re.search(pattern, printed)
    if found is None:
        raise CannotRun(f"h2load did not run: {printed.strip()[-400:]}")
    return [int(number) for number in found.groups()]
