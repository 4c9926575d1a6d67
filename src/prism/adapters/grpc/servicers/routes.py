"""The ways from a proxy to its patterns."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from prism.adapters.grpc.servicers.key_value import KeyValueServicer
from prism.adapters.grpc.servicers.relaying import HandOn, hand_on_of
from prism.domain.gateway import Gateway
from prism.domain.patterns.values import PatternSpec
from prism.ports import NotServing


class Pattern(Protocol):
    """Where calls are forwarded to."""

    @property
    def spec(self) -> PatternSpec: ...

    @property
    def gateway(self) -> Gateway | None: ...

    async def wait_for_gateway(self) -> Gateway: ...

    def refusal(self) -> NotServing: ...


class Front(NamedTuple):
    """What stands before a gateway.

    Attributes:
        hand_on: how the driver behind it takes operations as they came, if it does.
    """

    gateway: Gateway
    servicer: KeyValueServicer
    hand_on: HandOn | None


class Route:
    """The way to one pattern, whichever of its processes serves.

    Attributes:
        name: of the pattern.
    """

    __slots__ = ("_front", "name", "pattern")

    def __init__(self, pattern: Pattern) -> None:
        self.name = pattern.spec.name
        self.pattern = pattern
        self._front: Front | None = None

    @property
    def keeper(self) -> Front | None:
        """The front of its current gateway; None while it does not serve.

        The driver behind that sends all through one stream, and at its other end operations
        on one key take effect in the order sent.
        """
        gateway = self.pattern.gateway
        return None if gateway is None else self.front_of(gateway)

    def front_of(self, gateway: Gateway) -> Front:
        """The same one for as long as the gateway is the current one."""
        front = self._front
        if front is None or front.gateway is not gateway:
            front = self._front = Front(gateway, KeyValueServicer(gateway), hand_on_of(gateway))
        return front
