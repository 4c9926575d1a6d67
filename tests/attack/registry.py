"""The list of attacks: each is one function with a plain name."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.attack.target import Target


class Place(StrEnum):
    """What an attack is aimed at."""

    SERVER = "server"
    CRAMPED = "server with few descriptors"
    PROXY = "proxy"
    HTTP = "HTTP port"
    REDIS = "Redis port"
    GUARDED = "server with a policy"


class PromiseBroken(Exception):
    """The server answered the attacker in a way that it must not."""


Run = Callable[[Target], Coroutine[Any, Any, str]]


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        run: attacks, and returns what the attacker saw; raises PromiseBroken.
        places: what to run it against.
        short: what the short form runs it against; empty: it represents no kind there.
        grpcio_cannot: promise that grpcio cannot keep; empty: it must keep all.
    """

    run: Run
    places: tuple[Place, ...]
    short: tuple[Place, ...]
    grpcio_cannot: str = ""

    @property
    def name(self) -> str:
        return self.run.__name__.replace("_", "-")

    @property
    def summary(self) -> str:
        """First sentence of the documentation."""
        return (self.run.__doc__ or "").strip().partition("\n")[0]


ATTACKS: list[Attack] = []


def attack(
    *places: Place, short: tuple[Place, ...] = (), grpcio_cannot: str = ""
) -> Callable[[Run], Run]:
    """Add a function to the attacks; without places it is aimed at a server."""

    def add(run: Run) -> Run:
        ATTACKS.append(Attack(run, places or (Place.SERVER,), short, grpcio_cannot))
        return run

    return add


def require(condition: object, what: str) -> None:
    """Raise PromiseBroken with what was seen unless the condition holds."""
    if not condition:
        raise PromiseBroken(what)
