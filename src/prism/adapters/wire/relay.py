"""How a driver relays operations of a stream as messages, without decoding them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

from google.protobuf.message import Message

from prism.v1 import keyvalue_pb2 as pb


class Waiter(Protocol):
    """Receives the outcome of an operation, once; an `asyncio.Future` is one."""

    def done(self) -> bool:
        """Whether it has the outcome, or does not need it any more."""
        ...

    def set_result(self, reply: Message, /) -> None: ...

    def set_exception(self, error: Exception, /) -> None: ...


RelayOperation: TypeAlias = Callable[[str, pb.Operation, Waiter], Callable[[], None] | None]
"""Sends an operation on and returns a function that gives it up; None: not sent.

It takes the name of the operation's field, the operation, whose id and trace context it
may change, and the waiter, which is called in the step of the loop in which the reply
arrives, and enforces the deadline. It raises NotServing when the connection is closed.
"""


@runtime_checkable
class RelayingDriver(Protocol):
    """Driver whose backend is a Prism server, so that it can relay operations as messages."""

    @property
    def relay(self) -> RelayOperation | None:
        """Relays an operation; None: not connected."""
        ...
