"""Records the commands of administrators: who gave which, and how it ended."""

from __future__ import annotations

from functools import partial
from typing import Any

from google.protobuf.message import Message

from prism.adapters.grpc.calls import UnaryHandler
from prism.adapters.grpc.context import CallContext
from prism.domain.access.audit import Record, event_of_caller, recorded

_COMMANDS = frozenset(
    {"Initialize", "Start", "Drain", "Stop", "RestartPattern", "DrainPattern", "ReplacePattern"}
)


def audited(path: str, handler: UnaryHandler, record: Record) -> UnaryHandler:
    """Return a handler that records its call, if the method is a command."""
    method = path.rpartition("/")[2]
    if method not in _COMMANDS:
        return handler

    async def handle(request: Any, context: CallContext) -> Message:
        name = getattr(request, "name", "")
        with recorded(record, partial(event_of_caller, "command", method, pattern=name)):
            return await handler(request, context)

    return handle
