"""16 blocking gRPC callers in one process: `python -m benchmarks.threads CLIENT ADDRESS SECONDS`.

CLIENT is `prism` for prism.connect_sync, or `stub` for a blocking stub of grpcio.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

import prism
from benchmarks.h2load import KEYS, VALUE
from prism.v1 import keyvalue_pb2 as pb

THREADS = 16

Get = Callable[[], object]


@contextmanager
def _prism(address: str) -> Iterator[Get]:
    with prism.connect_sync(address) as kv:
        entry = kv.get(KEYS[0])
        assert entry is not None
        assert entry.value == VALUE
        yield lambda: kv.get(KEYS[0])


@contextmanager
def _stub(address: str) -> Iterator[Get]:
    with grpc.insecure_channel(address) as channel:
        method = channel.unary_unary(
            "/prism.v1.KeyValueService/Get",
            request_serializer=pb.GetRequest.SerializeToString,
            response_deserializer=pb.GetResponse.FromString,
        )
        assert method(pb.GetRequest(key=KEYS[0])).entry.value == VALUE

        # With a timeout, because prism.connect_sync sets one too.
        yield lambda: method(pb.GetRequest(key=KEYS[0]), timeout=5)


CLIENTS = {"prism": _prism, "stub": _stub}


def rate(client: str, address: str, seconds: float) -> float:
    """Return gets per second of all threads together; a call that fails raises."""
    with CLIENTS[client](address) as get, ThreadPoolExecutor(THREADS) as threads:
        began_at = time.perf_counter()

        def repeat(_: int) -> int:
            done = 0
            while time.perf_counter() - began_at < seconds:
                get()
                done += 1
            return done

        done = sum(threads.map(repeat, range(THREADS)))
        return done / (time.perf_counter() - began_at)


if __name__ == "__main__":
    sys.stdout.write(f"{rate(sys.argv[1], sys.argv[2], float(sys.argv[3]))}\n")
