"""One attack on one server, measured and judged."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from math import inf
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from tests.attack.bystander import Bystander, Sight
from tests.attack.registry import Attack, Place, PromiseBroken
from tests.attack.target import PrismProcess, Target

_FEW_DESCRIPTORS = 256
_MAX_PRINTED_BYTES = 1 << 20
_MAX_PEAK_MIB = 512
_RETURN_S = 10.0
_SETTLE_S = 1.0
_ATTACK_S = 90.0
_NICENESS = 5


@dataclass(frozen=True)
class Limits:
    """What the bystander must see at least.

    Attributes:
        p99_s: duration of 99 of 100 Gets.
        health_s: longest duration of GET /health.
        kept_mib: memory that may be kept even if it is more than a fifth of what it was.
    """

    p99_s: float
    health_s: float
    kept_mib: int

    def allowed_mib(self, before_mib: int) -> float:
        """Return the memory that counts as no more than before."""
        return max(before_mib * 1.2, before_mib + self.kept_mib)


FULL = Limits(p99_s=0.25, health_s=1.0, kept_mib=96)

SHORT = Limits(p99_s=inf, health_s=inf, kept_mib=128)
"""For a machine that does other work meanwhile: only calls that fail are judged, no times."""


@dataclass
class Trial:
    """What was measured.

    Attributes:
        before_mib: memory before the attack.
        peak_mib: highest memory from the beginning of the attack on.
        after_mib: memory ten seconds after the attack, or as soon as it is back.
        took_s: duration of the attack and of the wait after it.
        seen: what the attacker saw.
        foreign: lines printed that are not in our format.
        broken: each promise that was broken; empty: all hold.
    """

    attack: Attack
    place: Place
    transport: str
    before_mib: int = 0
    peak_mib: int = 0
    after_mib: int = 0
    took_s: float = 0.0
    sight: Sight = field(default_factory=Sight)
    seen: str = ""
    foreign: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def cannot(self) -> str:
        """Promise that the transport cannot keep, which the verdict forgives; empty: none."""
        return self.attack.grpcio_cannot if self.transport == "grpcio" else ""

    @property
    def has_failed(self) -> bool:
        """Whether a promise was broken that the transport can keep."""
        return bool(self.broken) and not self.cannot

    def judge(self, server: PrismProcess, limits: Limits, printed_bytes: int) -> None:
        """Compare the measurements with what is promised."""
        sight, broken = self.sight, self.broken
        if sight.p99_s > limits.p99_s:
            broken.append(f"p99 {sight.p99_s * 1000:.0f} ms")
        if sight.longest_health_s > limits.health_s:
            broken.append(f"health took {sight.longest_health_s:.1f} s")
        if sight.errors:
            broken.append(f"bystander: {dict(sight.errors)}")
        if self.peak_mib > _MAX_PEAK_MIB:
            broken.append(f"peak {self.peak_mib} MiB")
        if self.after_mib > limits.allowed_mib(self.before_mib):
            broken.append(f"{self.after_mib} MiB are kept")
        if self.foreign:
            broken.append(f"foreign output: {self.foreign[0][:80]!r}")
        if printed_bytes > _MAX_PRINTED_BYTES:
            broken.append(f"printed {printed_bytes >> 20} MiB")
        if not server.is_ready() or not _accepts(server.port):
            broken.append("serves no longer")


class Stage(AbstractContextManager["Stage"]):
    """A server with its bystander, for one attack after another."""

    def __init__(self, place: Place, transport: str) -> None:
        self.place = place
        self.server = PrismProcess(
            transport,
            is_proxy=place is Place.PROXY,
            is_guarded=place is Place.GUARDED,
            max_descriptors=_FEW_DESCRIPTORS if place is Place.CRAMPED else None,
        )
        self._bystander = Bystander(self.server)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.server)
            stack.enter_context(self._bystander)
            self._stack = stack.pop_all()
        time.sleep(_SETTLE_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def try_attack(self, attack: Attack, *, is_short: bool) -> Trial:
        """Run one attack."""
        trial = Trial(attack, self.place, self.server.transport)
        limits = SHORT if is_short else FULL
        server = self.server
        printed = server.printed_bytes()
        trial.before_mib = server.memory_mib()
        server.reset_peak()
        self._bystander.begin()
        begun = time.monotonic()
        trial.seen, promise_broken = _run(attack, server.target(is_short=is_short))
        ended = time.monotonic()
        while True:
            time.sleep(0.25)
            trial.peak_mib = max(trial.peak_mib, server.memory_mib("VmHWM"))
            trial.after_mib = server.memory_mib()
            is_back = trial.after_mib <= limits.allowed_mib(trial.before_mib)
            if time.monotonic() - ended > (_RETURN_S if not (is_short and is_back) else 0.5):
                break
        trial.took_s = time.monotonic() - begun
        trial.sight = self._bystander.end()
        trial.foreign = server.foreign_lines(printed)
        if promise_broken:
            trial.broken.append(trial.seen)
        trial.judge(server, limits, server.printed_bytes() - printed)
        return trial


def _run(attack: Attack, target: Target) -> tuple[str, bool]:
    """Run the attack in a process of its own; return what it saw, and whether that is wrong."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_attack, args=(theirs, attack, target))
    process.start()
    theirs.close()
    try:
        if not ours.poll(_ATTACK_S):
            return f"the attack was not over after {_ATTACK_S:.0f} s", True
        seen, is_wrong = ours.recv()
        return seen, is_wrong
    except EOFError:
        return "the attacker ended without a word", True
    finally:
        # The system closes all connections of the attacker at once.
        process.kill()
        process.join()


def _attack(pipe: Connection, attack: Attack, target: Target) -> None:
    # The attacker must not take the processor from those that it is measured by.
    os.nice(_NICENESS)
    try:
        pipe.send((asyncio.run(attack.run(target)), False))
    except PromiseBroken as broken:
        pipe.send((str(broken), True))
    except Exception as error:
        pipe.send((f"the attack failed: {error!r}", True))


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 3).close()
    except OSError:
        return False
    return True
