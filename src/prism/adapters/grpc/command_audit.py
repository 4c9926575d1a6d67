"""Records the commands of administrators: who gave which, and how it ended."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from prism.adapters.grpc.calls import UnaryHandler
from prism.adapters.grpc.context import CallContext
from prism.domain.access.audit import Record, event_of_caller
from prism.ports import PrismError

_COMMANDS = frozenset(
    {"Initialize", "Start", "Drain", "Stop", "RestartPattern", "DrainPattern", "ReplacePattern"}
)


def audited(path: str, handler: UnaryHandler, record: Record) -> UnaryHandler:
    """Return a handler that records its call, if the method is a command."""
    method = path.rpartition("/")[2]
    if method not in _COMMANDS:
        return handler

    async def handle(request: Any, context: CallContext) -> Message:
        outcome = "CANCELLED"
        try:
            reply = await handler(request, context)
            outcome = "ok"
            return reply
        except PrismError as error:
            outcome = error.reason
            raise
        except Exception:
            outcome = "INTERNAL"
            raise
        finally:
            name = getattr(request, "name", "")
            record(event_of_caller("command", method, outcome, pattern=name))

    return handle
