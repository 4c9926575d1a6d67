"""Elements of a message are bounded before the message is parsed."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from prism.adapters.grpc.element_limits import ElementLimits
from prism.ports import Exhausted
from prism.v1 import keyvalue_pb2 as pb
from prism.v1 import lifecycle_pb2

_LIMIT = 20


def _is_refused(message: Message) -> bool:
    try:
        ElementLimits(type(message), _LIMIT).check(message.SerializeToString())
    except Exhausted:
        return True
    return False


def test_the_refusal_names_message_and_limit() -> None:
    message = pb.BatchDeleteRequest(keys=["k"] * 100)
    with pytest.raises(Exhausted, match=r"prism.v1.BatchDeleteRequest has more than 20 elements"):
        ElementLimits(type(message), _LIMIT).check(message.SerializeToString())


@pytest.mark.parametrize("count", [0, 1, _LIMIT, _LIMIT + 1, 10 * _LIMIT])
def test_elements_are_counted_exactly(count: int) -> None:
    assert _is_refused(pb.BatchGetRequest(keys=["\n" * 50] * count)) == (count > _LIMIT)


def test_empty_elements_count() -> None:
    assert _is_refused(pb.BatchGetRequest(keys=[""] * (_LIMIT + 1)))


def test_elements_of_nested_messages_count() -> None:
    batch = pb.Operation(id=1, batch_get=pb.BatchGetRequest(keys=["k"] * (_LIMIT // 2)))
    assert not _is_refused(pb.OperateRequest(operations=[batch]))
    assert _is_refused(pb.OperateRequest(operations=[batch, batch]))


def test_entries_of_a_map_count() -> None:
    settings = {f"name{index}": "value" for index in range(_LIMIT + 1)}
    assert _is_refused(lifecycle_pb2.InitializeRequest(settings=settings))


def test_bytes_inside_values_do_not_count() -> None:
    values = [b"\x0a\x00" * 1000]
    assert not _is_refused(pb.BatchSetRequest(keys=["k"], values=values, ttl_ms=[10]))


def test_a_message_without_repeated_fields_is_not_checked() -> None:
    assert not ElementLimits(pb.GetRequest).applies


@given(st.binary(max_size=400))
def test_malformed_bytes_are_left_to_the_parser(encoded: bytes) -> None:
    try:
        ElementLimits(pb.OperateRequest, 5).check(encoded)
    except Exhausted:
        assert len(encoded) > 10


@given(
    st.lists(st.text(max_size=40), max_size=40),
    st.lists(st.binary(max_size=40), max_size=40),
    st.lists(st.integers(0, 1 << 40), max_size=40),
)
def test_the_count_is_that_of_the_parsed_message(
    keys: list[str], values: list[bytes], ttls: list[int]
) -> None:
    message = pb.BatchSetRequest(keys=keys, values=values, ttl_ms=ttls)
    delimited = len(keys) + len(values)
    if _is_refused(message):
        assert delimited + len(ttls) > _LIMIT
    else:
        assert delimited <= _LIMIT


def test_numbers_of_a_large_message_count() -> None:
    many = 300 << 10
    assert _is_refused(pb.OperateRequest(cancel_ids=[1] * many))
    few = pb.BatchSetRequest(keys=["k"], values=[b"x" * many], ttl_ms=[1 << 40] * (_LIMIT - 2))
    assert not _is_refused(few)
    few.ttl_ms.append(1 << 40)
    assert _is_refused(few)
