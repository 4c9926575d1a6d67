"""Commands of the operations on Redis."""

from __future__ import annotations

import pytest

from prism.adapters.redis.operations import prefix_pattern


@pytest.mark.parametrize("character", [b"\\", b"*", b"?", b"[", b"]", b"^", b"-"])
def test_prefix_pattern_takes_each_character_literally(character: bytes) -> None:
    assert prefix_pattern(b"a%bb" % character) == b"a\\%bb*" % character
