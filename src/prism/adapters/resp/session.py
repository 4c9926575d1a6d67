"""State of a connection that commands read and change."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prism.adapters.resp.replies import NULL_2, NULL_3, array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prism.adapters.resp.door import Door
    from prism.domain.gateway import Gateway


class Session:
    """What a command knows of its connection.

    Attributes:
        door: parts that all connections share.
        gateway: what commands call.
        id: number of the connection.
        name: address of the peer.
        null: the null of the protocol version.
        resp3: whether the client has chosen RESP3.
        client_name: as the client calls itself; empty: it does not.
        library: name and version of the client's library.
        replies: whether replies are sent: `on`, `off`, or `skip` for the next one.
        closing: whether the connection closes after the replies.
    """

    def __init__(self, door: Door, identity: int, name: str) -> None:
        self.door = door
        self.gateway: Gateway = door.gateway
        self.id = identity
        self.name = name
        self.connected_at = time.monotonic()
        self.closing = False
        self.reset()

    def reset(self) -> None:
        """Return to the state of a new connection."""
        self.resp3 = False
        self.null = NULL_2
        self.client_name = b""
        self.library = {"lib-name": b"", "lib-ver": b""}
        self.replies = "on"

    def choose_protocol(self, version: int) -> None:
        """Reply in RESP2 or in RESP3 from now on."""
        self.resp3 = version == 3
        self.null = NULL_3 if self.resp3 else NULL_2

    def map(self, replies: Sequence[bytes]) -> bytes:
        """Return a map of replies, keys and values in turn; an array in RESP2."""
        if not self.resp3:
            return array(replies)
        return b"%%%d\r\n%b" % (len(replies) // 2, b"".join(replies))

    def set(self, replies: Sequence[bytes]) -> bytes:
        """Return a set of replies; an array in RESP2."""
        return (b"~" if self.resp3 else b"*") + array(replies)[1:]

    @property
    def info(self) -> str:
        """One line about the connection, as CLIENT INFO and CLIENT LIST have it."""
        name = self.client_name.decode("utf-8", "replace")
        library = {key: value.decode("utf-8", "replace") for key, value in self.library.items()}
        return (
            f"id={self.id} addr={self.name} name={name} "
            f"age={time.monotonic() - self.connected_at:.0f} idle=0 flags=N db=0 sub=0 psub=0 "
            f"multi=-1 user=default resp={3 if self.resp3 else 2} "
            f"lib-name={library['lib-name']} lib-ver={library['lib-ver']}"
        )
