"""That the clients of NATS which are compared do the same, and answer as they should."""

from __future__ import annotations

import os

import nats
import pytest
from nats.aio.msg import Msg

from benchmarks.nats_callers import CLIENTS
from benchmarks.processes import run_module
from tests.servers.nats import NatsServer

CORE = min(os.sched_getaffinity(0))
A_MOMENT_S = 0.05


@pytest.mark.parametrize("operation", ["get", "set"])
@pytest.mark.parametrize("client", CLIENTS)
def test_callers_of_nats_are_answered(nats_server: NatsServer, client: str, operation: str) -> None:
    arguments = (client, operation, nats_server.url, str(A_MOMENT_S))
    assert run_module("benchmarks.nats_callers", *arguments, core=CORE) > 0


async def test_both_clients_send_the_same_requests(nats_server: NatsServer) -> None:
    told: list[list[str]] = []
    async with await nats.connect(nats_server.url) as witness:
        for client in CLIENTS.values():
            async with client(nats_server.url) as calls:
                seen: list[str] = []

                async def note(message: Msg, seen: list[str] = seen) -> None:
                    seen.append(message.subject)

                subscription = await witness.subscribe(">", cb=note)
                # The first may overtake the request to subscribe, which is written later.
                await witness.flush()
                await witness.flush()
                await calls.set("key")
                await calls.get("key")
                await witness.flush()
                await subscription.drain()  # type: ignore[no-untyped-call]
            # The copy for watches is among them, and the look at the bucket is the driver's own.
            told.append([subject for subject in seen if not subject.startswith(_OTHERS)])
    assert told[0] == told[1]
    assert len(told[0]) == 3


_OTHERS = ("_INBOX.", "$JS.API.STREAM.INFO.")
