"""The table of operations: one row for each method of the key-value ports.

What depends on the list of operations (counts, the client, span names, relaying, the
acceptance suite) reads this table. Each method of the ports documents its operation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from prism.ports.capabilities import Capability


class Keys(Enum):
    """How an operation names the keys that it reads or writes."""

    ONE = auto()
    MANY = auto()
    TRANSACTION = auto()
    PREFIX = auto()


@dataclass(frozen=True, slots=True)
class OperationSpec:
    """One operation of the key-value ports.

    Attributes:
        name: method of the port.
        rpc: method of `prism.v1.KeyValueService` that carries the operation. Two operations
            may share one: a compare-and-set is a `Set` with a condition.
        keys: how the operation names its keys.
        capability: capability that the operation needs; None: part of `KeyValue`.
        writes: whether the operation can change a key.
        streams: whether the operation yields many replies over time instead of one.
    """

    name: str
    rpc: str
    keys: Keys = Keys.ONE
    capability: Capability | None = None
    writes: bool = False
    streams: bool = False


_TTL, _CAS, _BATCH = Capability.TTL, Capability.COMPARE_AND_SET, Capability.BATCH

OPERATIONS: Mapping[str, OperationSpec] = {
    spec.name: spec
    for spec in (
        OperationSpec("get", "Get"),
        OperationSpec("set", "Set", writes=True),
        OperationSpec("delete", "Delete", writes=True),
        OperationSpec("exists", "Exists"),
        OperationSpec("expire", "Expire", capability=_TTL, writes=True),
        OperationSpec("ttl", "GetTtl", capability=_TTL),
        OperationSpec("persist", "Persist", capability=_TTL, writes=True),
        OperationSpec("compare_and_set", "Set", capability=_CAS, writes=True),
        OperationSpec("compare_and_delete", "Delete", capability=_CAS, writes=True),
        OperationSpec("get_many", "BatchGet", Keys.MANY, _BATCH),
        OperationSpec("set_many", "BatchSet", Keys.MANY, _BATCH, writes=True),
        OperationSpec("delete_many", "BatchDelete", Keys.MANY, _BATCH, writes=True),
        OperationSpec("scan", "Scan", Keys.PREFIX, Capability.SCAN),
        OperationSpec("increment", "Increment", capability=Capability.COUNTER, writes=True),
        OperationSpec("apply", "Apply", Keys.TRANSACTION, Capability.TRANSACTIONS, writes=True),
        OperationSpec("watch", "Watch", Keys.PREFIX, Capability.WATCH, streams=True),
    )
}
"""Every operation, by the name of its method."""
