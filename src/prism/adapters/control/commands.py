"""What the proxy commands, and the answers to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from google.protobuf.message import Message

from prism.adapters.wire.keyvalue_messages import HEALTH_OF
from prism.adapters.wire.lifecycle_calls import LifecycleCalls
from prism.adapters.wire.status import status_of
from prism.ports import Health, Internal, LifecycleControl, PrismError, Unsupported
from prism.v1 import lifecycle_pb2 as lpb
from prism.v1 import pattern_pb2 as pb

log = logging.getLogger(__name__)

_REMEMBERED = 16

Checked = Callable[[Health], None]


class Commands:
    """Runs each command once, however often it is asked for.

    A stream may break before its answer has arrived: the proxy then repeats the command,
    and gets the answer that there is, or will be. That commands do not interleave, and
    are not cut short by a stream that breaks, is the lifecycle's affair.

    Args:
        checked: called with what each health check finds.
    """

    def __init__(self, lifecycle: LifecycleControl, checked: Checked) -> None:
        self._calls = LifecycleCalls(lifecycle)
        self._checked = checked
        self._asked: dict[int, asyncio.Task[pb.CommandResult]] = {}

    async def answer(self, command: pb.Command) -> pb.CommandResult:
        """What became of it, once it has."""
        running = self._asked.get(command.id)
        if running is None:
            running = self._asked[command.id] = asyncio.create_task(self._run(command))
            self._forget_oldest()
        return await asyncio.shield(running)

    async def _run(self, command: pb.Command) -> pb.CommandResult:
        what = command.WhichOneof("command")
        try:
            if what is None:
                raise Unsupported("this pattern does not know the command")
            answered = await self._call(what)(getattr(command, what))
        except PrismError as error:
            return pb.CommandResult(id=command.id, error=status_of(error))
        except Exception:
            log.exception("%s failed unexpectedly; this is a defect", what)
            ours = Internal("internal error; the pattern's log has the details")
            return pb.CommandResult(id=command.id, error=status_of(ours))
        if isinstance(answered, lpb.HealthCheckResponse):
            self._checked(
                Health(HEALTH_OF[answered.status], answered.message, dict(answered.details))
            )
        return pb.CommandResult(id=command.id, **{what: answered})  # type: ignore[arg-type]

    def _call(self, what: str) -> Callable[[Any], Coroutine[Any, Any, Message]]:
        call: Callable[[Any], Coroutine[Any, Any, Message]] = getattr(self._calls, what)
        return call

    def _forget_oldest(self) -> None:
        while len(self._asked) > _REMEMBERED:
            # One that still runs is kept by the lifecycle; nobody asks for it any more.
            self._asked.pop(next(iter(self._asked)))
