"""Commands: the description of each, how it runs, and the counts of its calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from prism.adapters.resp.parser import Arguments
from prism.domain.tallies import CALL_BOUNDS_S, CallTally, Durations

if TYPE_CHECKING:
    from prism.adapters.resp.session import Session

PATH = "/redis/"
"""Begins the path by which metrics, log and traces name a command."""

CommandWork: TypeAlias = Coroutine[Any, Any, Any]
"""A command that has begun: an operation of the gateway, or a coroutine with the reply."""

Start: TypeAlias = "Callable[[Session, Arguments], CommandWork]"
"""Begins a command."""

Encode: TypeAlias = "Callable[[Any, Session], bytes]"
"""Encodes the result of the operation."""

Answer: TypeAlias = "Callable[[Session, Arguments], bytes]"
"""Runs a command that needs no backend; returns the reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Description of a command, as `COMMAND` tells it to clients.

    Attributes:
        arity: number of arguments with the name; negative: at least so many.
        keys: positions of the first and the last key, and the step between keys; the last one
            counts from the end if it is negative; zeros: there are no keys.
        exclusive: whether it waits for the commands before it, and those after it wait for it.
        is_queued: whether it waits for EXEC after MULTI.
        find_keys: finds the keys where their positions depend on the arguments.
    """

    name: str
    arity: int
    summary: str
    group: str
    since: str
    flags: tuple[str, ...] = ()
    keys: tuple[int, int, int] = (1, 1, 1)
    start: Start | None = None
    encode: Encode | None = None
    answer: Answer | None = None
    exclusive: bool = False
    is_queued: bool = True
    find_keys: Callable[[Arguments], Arguments] | None = None

    @property
    def writes(self) -> bool:
        """Whether the command changes keys."""
        return "write" in self.flags

    def keys_of(self, arguments: Arguments) -> Arguments:
        """Return the keys among the arguments."""
        if self.find_keys is not None:
            return self.find_keys(arguments)
        first, last, step = self.keys
        if not first:
            return []
        end = last + 1 if last > 0 else len(arguments) + last + 1
        return arguments[first:end:step]


MOST_AT_ONCE = 1_000
"""Arguments of a command that needs no backend: it runs in one go, and holds up the others."""


def as_is(reply: bytes, session: Session) -> bytes:
    """Encode what is a reply already."""
    return reply


class Command:
    """Command of one server.

    Attributes:
        waiting: number of its calls that wait for a backend.
        failed: number of its calls that failed, by status code.
        durations: durations of its calls that have ended.
        accepts: smallest and largest number of arguments, with the name.
    """

    __slots__ = (
        "answer",
        "durations",
        "encode",
        "exclusive",
        "failed",
        "is_queued",
        "keys_of",
        "least",
        "most",
        "name",
        "path",
        "spec",
        "start",
        "waiting",
        "writes",
    )

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.name = spec.name
        self.path = PATH + spec.name.upper()
        self.least = abs(spec.arity)
        at_once = MOST_AT_ONCE if spec.answer is not None else 1 << 30
        self.most = spec.arity if spec.arity > 0 else at_once
        self.start = spec.start
        self.encode = spec.encode or as_is
        self.answer = spec.answer
        self.exclusive = spec.exclusive
        self.is_queued = spec.is_queued
        self.keys_of = spec.keys_of
        self.writes = spec.writes
        self.waiting = 0
        self.failed: Counter[int] = Counter()
        self.durations = Durations(CALL_BOUNDS_S)

    @property
    def tally(self) -> CallTally:
        """Counts of its calls."""
        ended = sum(self.durations.counts)
        return CallTally(ended + self.waiting, ended, self.failed)


UNKNOWN = Spec(name="unknown", arity=-1, summary="", group="server", since="1.0.0", keys=(0, 0, 0))
"""What is counted for commands that are not served."""


class Commands:
    """Commands of one server, by name."""

    def __init__(self, specs: Iterable[Spec]) -> None:
        self._named = {spec.name: Command(spec) for spec in specs}
        # The names in the two forms that clients send; others are looked up more slowly.
        self.by_bytes: dict[bytes, Command] = {}
        for name, command in self._named.items():
            self.by_bytes[name.encode()] = self.by_bytes[name.upper().encode()] = command
        self.unknown = Command(UNKNOWN)

    def find(self, name: bytes) -> Command | None:
        """Return the command of a name, in any case; None: it is not served."""
        return self.by_bytes.get(name) or self.by_bytes.get(name.upper())

    def __iter__(self) -> Iterator[Command]:
        """Yield the commands that were called, for metrics: most never are."""
        for command in (*self._named.values(), self.unknown):
            if command.tally.started:
                yield command

    @property
    def specs(self) -> list[Spec]:
        """Descriptions of all commands that are served, by name."""
        return [self._named[name].spec for name in sorted(self._named)]

    @property
    def processed(self) -> int:
        """Number of commands that were answered."""
        return sum(command.tally.ended for command in self._named.values())
