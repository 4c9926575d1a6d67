"""The clients, and the programs that use them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.clients.environment import Environment

PROGRAMS = Path(__file__).with_name("programs")

_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Client:
    """Client, and the program that uses it.

    Attributes:
        program: file in `programs`; its first line says what it uses.
        package: package whose version is reported.
    """

    program: str
    package: str

    @property
    def describes(self) -> tuple[str, str]:
        """Name of the client, and what the program uses of it."""
        line = (PROGRAMS / self.program).read_text().splitlines()[0]
        name, _, uses = line.strip('/" ').partition(": ")
        return name, uses.removesuffix(".")

    def version(self, environment: Environment) -> str:
        """Return the version that is installed."""
        if self.program.endswith(".js"):
            return environment.node_version_of(self.package)
        return environment.version_of(self.package)

    def run(self, environment: Environment, port: int) -> str:
        """Run the program; return what went wrong, empty if nothing did."""
        program = PROGRAMS / self.program
        if self.program.endswith(".js"):
            # Node looks for packages beside the program.
            program = environment.folder / "node" / self.program
            shutil.copy(PROGRAMS / self.program, program)
            command = ["node", str(program), str(port)]
        else:
            command = [str(environment.python), "-W", "ignore", str(program), str(port)]
            if self.package == "django":
                command.append(str(environment.folder))
        return _failure(command)


@dataclass(frozen=True, slots=True)
class Tool:
    """Program of Redis itself, with the arguments that it is given."""

    name: str
    arguments: tuple[str, ...]
    uses: str
    expects: str

    @property
    def describes(self) -> tuple[str, str]:
        """Name of the program, and what is used of it."""
        return self.name, self.uses

    def version(self, environment: Environment) -> str:
        """Return the version that is installed."""
        output = subprocess.run([self.name, "--version"], stdout=subprocess.PIPE, text=True)
        return output.stdout.split()[1]

    def run(self, environment: Environment, port: int) -> str:
        """Run the program; return what went wrong, empty if nothing did."""
        return _failure([self.name, "-p", str(port), *self.arguments], self.expects)


def _failure(command: list[str], expects: str = "") -> str:
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f"not finished after {_TIMEOUT_S:.0f} s"
    if done.returncode or expects not in done.stdout:
        return done.stdout.strip() or f"exit status {done.returncode}"
    return ""


CLIENTS: tuple[Client | Tool, ...] = (
    Client("redis_py.py", "redis"),
    Client("django_cache.py", "django"),
    Client("django_redis_cache.py", "django-redis"),
    Client("cachelib_cache.py", "cachelib"),
    Client("flask_caching_cache.py", "flask-caching"),
    Client("aiocache_cache.py", "aiocache"),
    Client("cashews_cache.py", "cashews"),
    Client("dogpile_cache.py", "dogpile.cache"),
    Client("py_key_value_store.py", "py-key-value-aio"),
    Client("langchain_store.py", "langchain-community"),
    Client("limits_windows.py", "limits"),
    Client("starsessions_store.py", "starsessions"),
    Client("valkey_glide.py", "valkey-glide"),
    Client("ioredis.js", "ioredis"),
    Client("node_redis.js", "redis"),
    Client("connect_redis.js", "connect-redis"),
    Tool("redis-cli", ("incrby", "redis-cli", "42"), "one command", "42"),
    Tool(
        "redis-benchmark",
        (*("-q", "-n", "300", "-c", "20", "-P", "8"), *("-t", "ping,set,get,incr,mset")),
        "PING, SET, GET, INCR, MSET, with 20 connections and pipelines",
        "MSET",
    ),
)
