from __future__ import annotations

import inspect

import pytest

from prism.ports import (
    OPERATIONS,
    Batch,
    Capability,
    CompareAndSet,
    Counter,
    Expiry,
    FullKeyValue,
    Keys,
    KeyValue,
    OperationSpec,
    Scan,
    Transactions,
    Watch,
)
from prism.v1 import keyvalue_pb2 as pb

PORTS: dict[Capability | None, type] = {
    None: KeyValue,
    Capability.TTL: Expiry,
    Capability.COMPARE_AND_SET: CompareAndSet,
    Capability.BATCH: Batch,
    Capability.SCAN: Scan,
    Capability.COUNTER: Counter,
    Capability.WATCH: Watch,
    Capability.TRANSACTIONS: Transactions,
}
EACH_OPERATION = pytest.mark.parametrize("spec", OPERATIONS.values(), ids=lambda spec: spec.name)


def methods_of(port: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(port, inspect.isfunction) if name[0] != "_"}


@pytest.mark.parametrize("capability", PORTS, ids=str)
def test_each_port_has_the_operations_that_the_table_gives_it(
    capability: Capability | None,
) -> None:
    listed = {spec.name for spec in OPERATIONS.values() if spec.capability is capability}
    assert methods_of(PORTS[capability]) == listed


@EACH_OPERATION
def test_the_first_parameter_matches_how_the_operation_uses_keys(spec: OperationSpec) -> None:
    parameters = inspect.signature(getattr(FullKeyValue, spec.name)).parameters
    first = [*parameters][1]
    assert (
        first
        in {
            Keys.ONE: ("key",),
            Keys.MANY: ("keys", "puts"),
            Keys.TRANSACTION: ("conditions",),
            Keys.PREFIX: ("prefix",),
        }[spec.keys]
    )


@EACH_OPERATION
def test_the_rpc_is_in_the_protocol_and_streams_as_the_table_says(spec: OperationSpec) -> None:
    rpc = pb.DESCRIPTOR.services_by_name["KeyValueService"].methods_by_name[spec.rpc]
    assert rpc.server_streaming == spec.streams
    assert not rpc.client_streaming
