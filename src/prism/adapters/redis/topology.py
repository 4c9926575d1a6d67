"""What a node of a Cluster says about who has which keys."""

from __future__ import annotations

from hashlib import blake2b

from prism.ports import ScanExpired

_FLAGS, _SLOTS = 2, 8
"""Where they are in a line of CLUSTER NODES: the slots are the rest of it."""


def topology_of(nodes: bytes, *, servers: int) -> str:
    """A digest of which server has which slots, as CLUSTER NODES of one of them tells.

    Args:
        servers: how many are scanned, this one among them.

    Raises:
        ScanExpired: a scan of these servers could leave out keys, or meet them twice:
            slots are on the move, or others have some.
    """
    having: list[bytes] = []
    here = False
    for line in nodes.splitlines():
        fields = line.split()
        slots = fields[_SLOTS:]
        if any(slot.startswith(b"[") for slot in slots):
            raise ScanExpired("the cluster is moving keys: begin the scan again when it is done")
        if slots:
            having.append(b" ".join((fields[0], *slots)))
            here |= b"myself" in fields[_FLAGS]
    if not here or len(having) != servers:
        raise ScanExpired("the cluster has other nodes than before: begin the scan again")
    return blake2b(b"\n".join(sorted(having)), digest_size=8).hexdigest()
