"""That what is measured answers as it should; how fast is for `make bench` to say."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from benchmarks import raw
from benchmarks.callers import CLIENTS
from benchmarks.processes import CannotRun, Variant, run_module, serving
from benchmarks.rows import BARE_ASGI, BARE_GRPC, FULL, FULL_GRPCIO, MANY, SETS
from benchmarks.stores import STORES
from benchmarks.wire import VALUE, StockClient, verify
from prism.v1 import keyvalue_pb2 as pb

CORE = min(os.sched_getaffinity(0))
A_MOMENT_S = 0.05


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(FULL, CORE) as started:
        yield started.address


@pytest.mark.parametrize("variant", [FULL_GRPCIO, BARE_GRPC, BARE_ASGI], ids=lambda v: v.name)
def test_a_server_passes_the_check_that_precedes_measuring(variant: Variant) -> None:
    with serving(variant, CORE) as started:
        expected = pb.GetResponse(entry=pb.Entry(value=VALUE, version=1))
        assert verify(started.address, MANY) == expected.ByteSize()
        assert verify(started.address, SETS) == pb.SetResponse(version=1).ByteSize()
        with StockClient(started.address) as client:
            absent = client.call("Get", pb.GetRequest(key="absent"))
        assert not pb.GetResponse.FromString(absent).HasField("entry")


def test_a_server_that_does_not_start_is_told_with_its_last_words() -> None:
    broken = Variant("broken", ("-c", "import sys; sys.exit('nothing here')"), "")
    told = pytest.raises(CannotRun, match="broken ended before it served: nothing here")
    with told, serving(broken, CORE):
        pass


def test_a_wrong_value_is_noticed(address: str) -> None:
    with StockClient(address) as client, pytest.raises(CannotRun):
        client.check("absent", VALUE)


@pytest.mark.parametrize("client", CLIENTS)
def test_callers_are_answered(address: str, client: str) -> None:
    verify(address)
    assert run_module("benchmarks.callers", client, address, str(A_MOMENT_S), core=CORE) > 0


def test_random_gets_are_answered(address: str) -> None:
    with StockClient(address) as client:
        client.fill([raw.key(number) for number in range(3000)])
    assert raw.main(address, 3000, A_MOMENT_S) > 0


def test_random_gets_of_what_is_not_there_are_noticed(address: str) -> None:
    with pytest.raises(SystemExit, match="an answer of 5 bytes"):
        raw.main(address, 1_000_000, A_MOMENT_S)


@pytest.mark.parametrize("operation", ["get", "set"])
@pytest.mark.parametrize("store", STORES)
def test_a_store_gives_back_what_it_took(store: str, operation: str) -> None:
    assert run_module("benchmarks.stores", store, operation, str(A_MOMENT_S), core=CORE) > 0
