"""Starts the processes of patterns; implements the domain's `Launcher`."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from prism.adapters.process.output import ProcessOutput
from prism.adapters.process.process import LaunchedProcess
from prism.domain.patterns.values import PatternSpec
from prism.domain.redaction import Redact
from prism.ports import PreconditionFailed

# A socket's path has 108 bytes on Linux, and 104 on macOS.
_MAX_SOCKET_PATH_BYTES = 100

# A pattern neither imports nor reads files of the folder in which the proxy was started.
_FOLDER = "/"

_PASSED_NAMES = frozenset({"HOME", "LANG", "PATH", "TMPDIR", "TZ"})
_PASSED_PREFIXES = ("LC_", "OTEL_", "PYTHON", "SSL_CERT_")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """Options of every process.

    Attributes:
        proxy_address: address at which a process registers, such as `unix:/tmp/x/control.sock`.
        socket_dir: private directory for the sockets of the processes.
        flags: further command-line arguments, such as `--slow-request`, `2s`.
        command: program that is run.
        environment: variables of this process, of which `clean_environment` passes some on.
        redact: removes secrets from the last output of a process.
    """

    proxy_address: str
    socket_dir: Path
    flags: Sequence[str] = ()
    command: Sequence[str] = (sys.executable, "-P", "-m", "prism.bootstrap")
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    redact: Redact = str


class ProcessLauncher:
    """Starts each process in a process group of its own, which a terminal's Ctrl-C misses.

    A pipe carries the token to the process. It stays open while this process lives, and
    the operating system closes it otherwise, so the process notices either end.
    """

    def __init__(self, options: LaunchOptions) -> None:
        self._options = options
        self._numbers = itertools.count(1)
        self._running: set[LaunchedProcess] = set()

    async def launch(self, spec: PatternSpec, token: str) -> LaunchedProcess:
        socket = self._socket_for(spec.name)
        # Descriptors that this process closes when the other one has ended, and those that it
        # closes at once.
        with ExitStack() as at_end, ExitStack() as now:
            token_reader, token_writer = os.pipe()
            now.callback(os.close, token_reader)
            at_end.callback(os.close, token_writer)
            os.write(token_writer, f"{token}\n".encode())
            output_reader, output_writer = os.pipe()
            now.callback(os.close, output_writer)
            stream, transport = await _open_pipe(output_reader)
            at_end.callback(transport.close)
            command = self._command(spec, token_reader, socket)
            process = self._start(spec.name, command, token_reader, output_writer)
            at_end.callback(socket.unlink, missing_ok=True)
            output = ProcessOutput(spec.name, process.pid, self._options.redact)
            at_end.callback(lambda: self._running.discard(launched))
            launched = LaunchedProcess(process, output, stream, at_end.pop_all().close)
            self._running.add(launched)
            return launched

    async def close(self) -> None:
        """Kill the processes that still run; after an orderly shutdown there are none."""
        running = tuple(self._running)
        for process in running:
            process.kill()
        for process in running:
            await process.wait()

    def _start(
        self, pattern: str, command: Sequence[str], token_reader: int, output_writer: int
    ) -> subprocess.Popen[bytes]:
        try:
            # Not by uvloop, which forks: gRPC would stop all its threads for a moment, and
            # the process would inherit the descriptors that this one inherited.
            return subprocess.Popen(  # noqa: S603  (the command is ours)
                command,
                stdin=subprocess.DEVNULL,
                stdout=output_writer,
                stderr=output_writer,
                env=clean_environment(self._options.environment),
                cwd=_FOLDER,
                pass_fds=(token_reader,),
                start_new_session=True,
            )
        except OSError as error:
            raise PreconditionFailed(
                f"the pattern {pattern!r} cannot be launched: {command[0]}: {error.strerror}"
            ) from None

    def _command(self, spec: PatternSpec, token_reader: int, socket: Path) -> Sequence[str]:
        options = self._options
        return (
            *options.command,
            *("--driver", spec.driver),
            *("--proxy-address", options.proxy_address),
            *("--proxy-fd", str(token_reader)),
            *("--grpc-socket", str(socket)),
            # A config file in the working directory belongs to the proxy.
            *("--config", os.devnull),
            # The proxy reads the lines, and logs them in its own format.
            *("--log-format", "json"),
            *options.flags,
        )

    def _socket_for(self, pattern: str) -> Path:
        number = next(self._numbers)
        plain = re.sub(r"[^A-Za-z0-9_-]", "-", pattern)
        path = self._options.socket_dir / f"{plain}-{number}.sock"
        if len(os.fsencode(path)) > _MAX_SOCKET_PATH_BYTES:
            return self._options.socket_dir / f"{number}.sock"
        return path


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a pattern needs; none can be a secret of the proxy."""
    passed = {
        name: value
        for name, value in environment.items()
        if name in _PASSED_NAMES or name.startswith(_PASSED_PREFIXES)
    }
    if folders := passed.get("PYTHONPATH"):
        # Relative to the folder of this process, and not to that of the pattern.
        absolute = map(os.path.abspath, filter(None, folders.split(os.pathsep)))
        passed["PYTHONPATH"] = os.pathsep.join(absolute)
    return passed


async def _open_pipe(reader: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """Return a stream of the pipe's output; its transport owns the descriptor."""
    loop = asyncio.get_running_loop()
    stream = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reader, "rb", buffering=0)
    )
    return stream, transport
