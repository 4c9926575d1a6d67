"""Commands share the event loop with other connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from prism.domain.turns import Turns
from prism.ports import Capability
from tests.unit.resp.conftest import Serve, Served


class OverTurns(Turns):
    """Turns of which none has time left; work begins in the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.begun_later = 0

    def has_time(self) -> bool:
        return False

    def call_later(
        self, connection: str, begin: Callable[[], None], *, expected_s: float = 0.0
    ) -> None:
        self.begun_later += 1
        asyncio.get_running_loop().call_soon(begin)


@pytest.fixture
def turns(served: Served) -> OverTurns:
    served.door.turns = turns = OverTurns()
    return turns


async def test_commands_wait_for_the_turn_of_their_connection(
    served: Served, turns: OverTurns
) -> None:
    client = await served.connect()
    assert await client.ask("PING") == [b"PONG"]
    assert turns.begun_later == 1


async def test_a_long_pipeline_is_run_in_many_turns_and_answered_in_order(
    served: Served, turns: OverTurns
) -> None:
    client = await served.connect()
    commands = ["SETRANGE k 200000 x", "STRLEN k", "GET other"] * 80
    assert await client.ask(*commands) == [200_001, 200_001, None] * 80
    # All arrive and are parsed at once, and one share of time is enough for a few.
    assert turns.begun_later > 4


@pytest.mark.parametrize(
    ("command", "reply"),
    [("DBSIZE", 3_000), ("KEYS *x", []), ("MGET " + "k1 " * 3_000, [b"v"] * 3_000)],
    ids=["DBSIZE", "KEYS", "MGET"],
)
async def test_a_command_on_many_keys_lets_others_run_between_its_pages(
    served: Served, turns: OverTurns, command: str, reply: object
) -> None:
    client = await served.connect()
    await client.ask(*(f"SET k{number} v" for number in range(3_000)))
    turns.begun_later = 0
    assert await client.ask(command) == [reply]
    # One for the command, and one after each page or batch but the last.
    assert turns.begun_later >= 3


@pytest.mark.parametrize("capable", [True, False], ids=["together", "one after another"])
async def test_a_transaction_lets_others_run_between_its_commands(
    serve: Serve, capable: bool
) -> None:
    served = await serve(loose_transactions=True)
    if not capable:
        served.driver.lacks(
            {
                capability: declaration
                for capability, declaration in served.driver.profile.capabilities.items()
                if capability is not Capability.TRANSACTIONS
            }
        )
    served.door.turns = turns = OverTurns()
    client = await served.connect()
    *_, replies = await client.ask("MULTI", *["APPEND k x"] * 500, "EXEC")
    assert replies == list(range(1, 501))
    assert turns.begun_later >= 500


async def test_watching_many_keys_lets_others_run_between_them(
    served: Served, turns: OverTurns
) -> None:
    client = await served.connect()
    assert await client.ask("WATCH " + " ".join(f"k{number}" for number in range(500))) == [b"OK"]
    assert turns.begun_later >= 500
