"""Encoded numbers, as protobuf reads them."""

from __future__ import annotations

import pytest

from prism.adapters.wire.encoding import tag_of, varint
from prism.v1 import keyvalue_pb2 as pb


@pytest.mark.parametrize("bits", range(64))
def test_protobuf_reads_numbers_of_every_length(bits: int) -> None:
    for number in ((1 << bits) - 1, 1 << bits):
        encoded = tag_of(pb.Operation, "id") + varint(number)
        assert pb.Operation.FromString(encoded).id == number
        assert encoded == pb.Operation(id=number).SerializeToString() or number == 0
