"""Commands that are served, by module."""

from __future__ import annotations

from prism.adapters.resp.command import Spec
from prism.adapters.resp.commands import (
    connection,
    counters,
    expiry,
    keys,
    keyspace,
    scripting,
    server,
    strings,
    subscribing,
    transactions,
)

SERVED: tuple[Spec, ...] = (
    *strings.COMMANDS,
    *counters.COMMANDS,
    *keys.COMMANDS,
    *expiry.COMMANDS,
    *keyspace.COMMANDS,
    *transactions.COMMANDS,
    *scripting.COMMANDS,
    *subscribing.COMMANDS,
    *connection.COMMANDS,
    *server.COMMANDS,
)
