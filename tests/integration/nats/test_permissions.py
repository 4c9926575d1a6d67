"""Users of NATS: the one in docs/nats.md suffices, and others are reported at the start."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from prism.adapters.nats import DRIVER
from prism.ports import VersionConflict
from prism.testing import OpenBackend
from prism.testing.levels import in_process
from prism.testing.suite.every_operation import EveryOperation
from prism.testing.suite.operations import SAMPLES
from tests.integration.nats.conftest import Open
from tests.servers.nats import MAX_PAYLOAD, NatsServer, nats_server

MANUAL = (Path(__file__).parents[3] / "docs" / "nats.md").read_text()
LOGIN = {"user": "prism", "password": "secret"}
LOGGER = "prism.adapters.nats.permissions"


class ManualServer(NatsServer):
    """Server with the account and the user as docs/nats.md has them."""

    def command(self) -> Sequence[str]:
        super().command()
        (accounts,) = re.findall(r"    accounts \{\n.*?\n    \}\n", MANUAL, re.DOTALL)
        configuration = self.folder / "nats.conf"
        configuration.write_text(
            f"listen: 127.0.0.1:{self.port}\nmax_payload: {MAX_PAYLOAD}\n"
            f'jetstream {{ store_dir: "{self.folder}/data", sync_interval: always }}\n{accounts}'
        )
        return [nats_server(), "--config", str(configuration)]


def reports(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged about the user, as level and text, up to `; see`."""
    found = [
        f"{record.levelname} {record.message.partition('; see')[0]}"
        for record in caplog.records
        if record.name == LOGGER
    ]
    return [re.sub(r"127\.0\.0\.1:\d+", "HOST", text) for text in found]


@pytest.mark.xdist_group("nats-user")
class TestAcceptanceSuiteAsTheUserOfTheManual(EveryOperation):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend() -> Iterator[OpenBackend]:
        with ManualServer() as server:
            yield in_process(DRIVER, {"url": server.url, **LOGIN}, backend_server=server)


async def test_user_of_the_manual_may_do_every_operation_and_is_not_reported(
    open_nats: Open, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "prism.adapters.nats"), ManualServer() as server:
        async with open_nats(server.url, **LOGIN) as backend:
            for sample in SAMPLES:
                if sample.is_declared_by(backend.profile):
                    # The samples are written for any key, also one that is absent.
                    with suppress(VersionConflict):
                        await sample.call(backend.kv, sample.name)
            await backend.kv.get_many(["one", "two"])
            assert (await backend.lifecycle.health()).status == "healthy"
        assert reports(caplog) == []
        printed = (server.folder / "log").read_text()
    assert "Permissions Violation" not in caplog.text
    assert "Permissions Violation" not in printed


EVERYTHING = (
    "may do more than Prism needs: delete and purge the bucket 'prism', and delete other streams "
    "of the account, and write to other buckets, and subscribe to subjects of other programs"
)
NEEDED = ["$KV.prism.>", "$JS.API.STREAM.*.KV_prism", "$SYS.REQ.USER.INFO"]
JETSTREAM = ["$JS.API.DIRECT.GET.KV_prism", "$JS.API.DIRECT.GET.KV_prism.>"]
CONSUMERS = ["$JS.API.CONSUMER.*.KV_prism.*", "$JS.API.CONSUMER.MSG.NEXT.KV_prism.*"]
SUBSCRIBE = ["_INBOX.>", "$PRISM.KV.prism.>"]
LOSING = "WARNING … may do more than Prism needs: delete and purge the bucket 'prism'"


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        (None, [f"WARNING … {EVERYTHING}"]),
        ({"publish": [*NEEDED, *JETSTREAM, *CONSUMERS], "subscribe": SUBSCRIBE}, [LOSING]),
        (
            {
                "publish": {
                    "allow": [*NEEDED, *JETSTREAM],
                    "deny": ["$JS.API.STREAM.DELETE.>", "$JS.API.STREAM.PURGE.>"],
                },
                "subscribe": SUBSCRIBE[:1],
            },
            [
                "WARNING … lacks permissions that Prism needs: "
                "publish to $JS.API.CONSUMER.CREATE.KV_prism.*, "
                "publish to $JS.API.CONSUMER.MSG.NEXT.KV_prism.*, "
                "publish to $JS.API.CONSUMER.DELETE.KV_prism.*, "
                "subscribe to $PRISM.KV.prism.>",
            ],
        ),
        (
            {"publish": [*NEEDED[:-1], *JETSTREAM, *CONSUMERS], "subscribe": SUBSCRIBE},
            [
                "INFO Prism cannot compare the permissions of its NATS user with what it needs: "
                "allow the user to publish to $SYS.REQ.USER.INFO"
            ],
        ),
    ],
)
async def test_what_a_user_lacks_or_has_too_much_is_reported_and_prevents_no_start(
    open_nats: Open, caplog: pytest.LogCaptureFixture, permissions: Any, expected: list[str]
) -> None:
    user = {**LOGIN} if permissions is None else {**LOGIN, "permissions": permissions}
    with (
        NatsServer({"authorization": {"users": [user]}}) as server,
        caplog.at_level(logging.INFO, LOGGER),
    ):
        async with open_nats(server.url, **LOGIN):
            pass
    named = [each.replace("…", "the user 'prism' of NATS at HOST") for each in expected]
    assert reports(caplog) == named


async def test_user_of_everybody_is_reported_at_level_info(
    open_nats: Open, nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, LOGGER):
        async with open_nats(nats_server.url):
            pass
    assert reports(caplog) == [f"INFO the user without a name of NATS at HOST {EVERYTHING}"]
