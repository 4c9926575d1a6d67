"""Commands to one pattern, one at a time, over whichever stream it has."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

from google.protobuf.message import Message

from prism.adapters.wire.keyvalue_messages import duration_of
from prism.adapters.wire.status import error_of
from prism.ports import BackendTimeout, BackendUnavailable, Internal, Outcome, PrismError
from prism.v1 import pattern_pb2 as pb

Send: TypeAlias = Callable[[pb.Command], None]


@dataclass(slots=True)
class _Outstanding:
    """A command that is not answered yet.

    Attributes:
        name: of its field, in `Command` and in `CommandResult`.
        sent: it was, once at least.
    """

    name: str
    command: pb.Command
    bound: timedelta
    deadline_s: float
    answer: asyncio.Future[Message | PrismError]
    sent: bool = False


class Commands:
    """The next one is sent when this one is answered, or out of time.

    A stream may break: what was not answered then is sent again over the next one, with
    its number, by which the pattern knows what it has done already. A caller that goes
    away does not end the wait for the answer either, or commands would overlap there.

    Args:
        pattern: its name.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._turn = asyncio.Lock()
        self._send: Send | None = None
        self._outstanding: _Outstanding | None = None
        self._running: asyncio.Task[Message | PrismError] | None = None
        self._over = ""

    @property
    def under_way(self) -> str:
        """Which command waits for its answer; empty: none."""
        return "" if self._outstanding is None else self._outstanding.name

    async def run(self, name: str, request: Message, bound: timedelta) -> Any:
        """Have the pattern do it; its answer.

        Args:
            name: of the field, in `Command` and in `CommandResult`.

        Raises:
            BackendTimeout: no answer within the bound.
            BackendUnavailable: the pattern is gone.
            PrismError: as the pattern said.
        """
        deadline_s = self._loop.time() + bound.total_seconds()
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._turn.acquire()
        except TimeoutError:
            raise BackendTimeout(
                f"the pattern {self._pattern!r} was not asked to {_words(name)}: for "
                f"{bound.total_seconds():g} s it was busy with another command",
                outcome=Outcome.NOT_APPLIED,
            ) from None
        # Protobuf's own stubs want each field by its name.
        fields: dict[str, Any] = {"id": next(self._numbers), name: request}
        outstanding = self._outstanding = _Outstanding(
            name, pb.Command(**fields), bound, deadline_s, self._loop.create_future()
        )
        self._running = asyncio.create_task(self._answer_to(outstanding))
        if self._over:
            self.give_up(self._over)
        self._offer()
        answer = await asyncio.shield(self._running)
        if isinstance(answer, PrismError):
            raise answer
        return answer

    def carry(self, send: Send | None) -> None:
        """From now on by this; None: by nothing, for the moment."""
        self._send = send
        self._offer()

    def answered(self, result: pb.CommandResult) -> None:
        """The pattern has answered; nothing when nobody waits for that any more."""
        outstanding = self._outstanding
        if outstanding is None or result.id != outstanding.command.id:
            return
        found, due = result.WhichOneof("result"), outstanding.name
        if found == "error":
            self._settle(error_of(result.error))
        elif found == due:
            self._settle(getattr(result, due))
        else:
            self._settle(
                Internal(
                    f"the pattern {self._pattern!r} was asked to {_words(due)}, and answered "
                    f"{_words(found) if found else 'nothing'}"
                )
            )

    def give_up(self, why: str) -> None:
        """Wait no longer for the answer that is outstanding, if there is one."""
        if self._outstanding is not None:
            outcome = Outcome.UNKNOWN if self._outstanding.sent else Outcome.NOT_APPLIED
            message = f"the pattern {self._pattern!r} {why}"
            self._settle(BackendUnavailable(message, outcome=outcome))

    def end(self, why: str) -> None:
        """There is nobody to answer, nor will there be."""
        self._over = why
        self.give_up(why)

    async def _answer_to(self, outstanding: _Outstanding) -> Message | PrismError:
        """Its answer, or what went wrong; then it is the next one's turn."""
        try:
            async with asyncio.timeout_at(outstanding.deadline_s):
                return await outstanding.answer
        except TimeoutError:
            return self._too_late(outstanding)
        finally:
            self._outstanding = None
            self._turn.release()

    def _offer(self) -> None:
        outstanding = self._outstanding
        if self._send is None or outstanding is None or outstanding.answer.done():
            return
        left = timedelta(seconds=max(outstanding.deadline_s - self._loop.time(), 0))
        outstanding.command.timeout.CopyFrom(duration_of(left))
        outstanding.sent = True
        self._send(outstanding.command)

    def _settle(self, answer: Message | PrismError) -> None:
        if self._outstanding is not None and not self._outstanding.answer.done():
            self._outstanding.answer.set_result(answer)

    def _too_late(self, outstanding: _Outstanding) -> BackendTimeout:
        name, seconds = _words(outstanding.name), outstanding.bound.total_seconds()
        if not outstanding.sent:
            return BackendTimeout(
                f"the pattern {self._pattern!r} could not be asked to {name}: for {seconds:g} s "
                "it had no control stream",
                outcome=Outcome.NOT_APPLIED,
            )
        return BackendTimeout(
            f"the pattern {self._pattern!r} did not answer within {seconds:g} s, asked to {name}"
        )


def _words(name: str) -> str:
    return {"health_check": "tell its health"}.get(name, name)
