"""Metadata that is small on the wire and large in the server."""

from __future__ import annotations

from typing import Any

import hpack
import pytest

from tests.attack.attacks.calls import GET, GET_SMALL, OPERATE
from tests.attack.peer import Peer, call_headers, header_block

_VALUE_BYTES = 3_900
_ENTRY = b"\x40\x01x" + bytes(hpack.hpack.encode_integer(_VALUE_BYTES, 7)) + b"v" * _VALUE_BYTES
"""Header that becomes the latest entry of the table (RFC 7541, section 6.2.1)."""

_LATEST = b"\xbe"


@pytest.mark.parametrize("path", [GET, OPERATE])
async def test_headers_that_refer_to_the_table_again_and_again_are_refused(
    serve: Any, path: str
) -> None:
    served = await serve()
    port = int(served.address.rpartition(":")[2])
    async with Peer.connect(port) as peer:
        headers = header_block(call_headers(path))
        first = peer.send_headers(headers + _ENTRY, GET_SMALL if path == GET else b"")
        second = peer.send_headers(headers + _LATEST * 40, GET_SMALL if path == GET else b"")
        assert await peer.wait_answered(2)
    assert peer.outcomes[first] == "0"
    assert peer.outcomes[second] in ("8", "HTTP 431")
