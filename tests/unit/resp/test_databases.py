"""Several backends behind one port: SELECT or the user name of AUTH chooses."""

from __future__ import annotations

from hiredis import ReplyError

from prism.domain.access.control import AccessControl
from prism.domain.access.logins import Logins
from prism.domain.access.policy import Action, Policy, Rule
from prism.domain.access.tokens import new_token, parse_tokens
from tests.unit.resp.conftest import Connection, Serve, Served


async def test_select_chooses_until_reset(connection: Connection) -> None:
    connection.send("SET k zero", "SELECT 1", "GET k", "SET k one", "GET k")
    assert await connection.receive(5) == [b"OK", b"OK", None, b"OK", b"one"]
    info, kept, databases = await connection.ask("CLIENT INFO", "DBSIZE", "CONFIG GET databases")
    assert b" db=1 " in info
    assert (kept, databases) == (1, [b"databases", b"2"])
    assert await connection.ask("SELECT 0", "GET k") == [b"OK", b"zero"]
    assert await connection.ask("SELECT 1", "RESET", "GET k") == [b"OK", b"RESET", b"zero"]


async def test_what_belongs_to_one_database_is_not_taken_to_another(
    connection: Connection,
) -> None:
    await connection.ask(*(f"SET k{number} v" for number in range(30)))
    [cursor, _], *_ = await connection.ask("SCAN 0 COUNT 10")
    _, refused = await connection.ask("SELECT 1", f"SCAN {cursor.decode()}")
    assert "invalid cursor" in str(refused)
    _, watched = await connection.ask("WATCH k1", "SELECT 0")
    assert "send UNWATCH first" in str(watched)
    assert await connection.ask("UNWATCH", "SELECT 0", "EXISTS k1") == [b"OK", b"OK", 1]
    for index in ("2", "-1", "99999999999"):
        (refused,) = await connection.ask(f"SELECT {index}")
        assert isinstance(refused, ReplyError)
        assert str(refused).startswith("ERR DB index is out of range: the databases are 0, 1")
    refused, aborted = (await connection.ask("MULTI", "SELECT 1", "EXEC"))[1:]
    assert "SELECT cannot be used" in str(refused)
    assert "EXECABORT" in str(aborted)


async def test_flushdb_empties_one_database_and_flushall_all(serve: Serve) -> None:
    connection = await (await serve(allow_flush=True)).connect()
    await connection.ask("SET k v", "SELECT 1", "SET k v")
    assert await connection.ask("FLUSHDB", "DBSIZE", "SELECT 0", "DBSIZE") == [b"OK", 0, b"OK", 1]
    await connection.ask("SELECT 1", "SET k v", "FLUSHALL")
    assert await connection.ask("DBSIZE", "SELECT 0", "DBSIZE") == [0, b"OK", 0]


async def test_the_user_chooses(serve: Serve) -> None:
    connection = await (await serve(pattern_by="user")).connect()
    await connection.ask("SET k default")
    assert await connection.ask("AUTH other any", "GET k") == [b"OK", None]
    assert await connection.ask("AUTH any", "GET k") == [b"OK", b"default"]
    connection.send("HELLO 3 AUTH other any", "SET k 1", "SELECT 0", "GET k")
    assert (await connection.receive(4))[1:] == [b"OK", b"OK", b"1"]
    refused, unknown = await connection.ask("SELECT 1", "AUTH nobody any")
    assert "ERR DB index is out of range: the user name of AUTH chooses" in str(refused)
    assert str(unknown).startswith("WRONGPASS there is no pattern 'nobody'")


async def test_a_database_in_which_a_caller_may_do_nothing_is_none_for_it(served: Served) -> None:
    rule = Rule(name="own", who=("token:a",), actions=frozenset({Action.READ}), patterns=("other",))
    token, line = new_token("a")
    served.door.logins = Logins(AccessControl(Policy((rule,))), parse_tokens(line))
    client = await served.connect()
    for index in (1, 7):
        (refused,) = await client.ask(f"SELECT {index}")
        assert str(refused) == "ERR DB index is out of range: the databases are 0 here"
        (refused,) = await client.ask(f"SUBSCRIBE __keyspace@{index}__:k")
        assert str(refused).startswith("ERR Prism has no channels but those")
    assert await client.ask("CONFIG GET databases") == [[b"databases", b"1"]]
    assert await client.ask(f"AUTH a {token}", "SELECT 1") == [b"OK", b"OK"]
    assert await client.ask("CONFIG GET databases") == [[b"databases", b"2"]]
