"""Starts the processes of patterns; implements the domain's `Launcher`."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from prism.adapters.process.environment import scrubbed
from prism.adapters.process.output import Output
from prism.adapters.process.process import LaunchedProcess
from prism.domain.patterns.values import PatternSpec
from prism.ports import PreconditionFailed

# Of the 108 that Linux has for a socket's path, and macOS 104.
_LONGEST_PATH_BYTES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """The same for every process.

    Attributes:
        proxy_address: where it calls back, such as `unix:/tmp/prism-x/control.sock`.
        folder: a private one, for its socket.
        flags: for the command line of each, such as `--slow-request`, `2s`.
        command: what is run.
        environment: of which the process gets what `scrubbed` leaves.
        redact: hides secrets in how a process is told to have ended.
    """

    proxy_address: str
    folder: Path
    flags: Sequence[str] = ()
    command: Sequence[str] = (sys.executable, "-m", "prism.bootstrap")
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    redact: Callable[[str], str] = str


class ProcessLauncher:
    """Starts each in a process group of its own, so that no Ctrl-C reaches it past us.

    It is handed its token through a pipe, and as long as that is open it knows that we
    are there: the other end is closed by the system too, whatever becomes of us.
    """

    def __init__(self, options: LaunchOptions) -> None:
        self._options = options
        self._numbers = itertools.count(1)
        self._left: set[LaunchedProcess] = set()

    async def launch(self, spec: PatternSpec, token: str) -> LaunchedProcess:
        socket = self._socket_of(spec.name)
        with ExitStack() as ours, ExitStack() as theirs:
            handed, handing = _pipe(reader=theirs, writer=ours)
            os.write(handing, f"{token}\n".encode())
            printed, printing = _pipe(reader=None, writer=theirs)
            stream, transport = await _open(printed)
            ours.callback(transport.close)
            process = self._spawn(spec, self._command(spec, handed, socket), handed, printing)
            ours.callback(socket.unlink, missing_ok=True)
            output = Output(spec.name, process.pid, self._options.redact)
            ours.callback(lambda: self._left.discard(launched))
            launched = LaunchedProcess(process, output, stream, ours.pop_all().close)
            self._left.add(launched)
            return launched

    async def close(self) -> None:
        """Kill what is left: of those that were looked after until their end, there is none."""
        left = tuple(self._left)
        for process in left:
            process.kill()
        for process in left:
            await process.wait()

    def _spawn(
        self, spec: PatternSpec, command: Sequence[str], handed: int, printing: int
    ) -> subprocess.Popen[bytes]:
        try:
            # Not by the loop: uvloop forks, by which gRPC would stop all its threads for a
            # moment, and hands down every descriptor that this process was handed itself.
            return subprocess.Popen(  # noqa: S603  (the command is ours)
                command,
                stdin=subprocess.DEVNULL,
                stdout=printing,
                stderr=printing,
                env=scrubbed(self._options.environment),
                pass_fds=(handed,),
                start_new_session=True,
            )
        except OSError as error:
            raise PreconditionFailed(
                f"the pattern {spec.name!r} cannot be launched: {command[0]}: {error.strerror}"
            ) from None

    def _command(self, spec: PatternSpec, handed: int, socket: Path) -> Sequence[str]:
        options = self._options
        return (
            *options.command,
            *("--driver", spec.driver),
            *("--proxy-address", options.proxy_address),
            *("--proxy-fd", str(handed)),
            *("--grpc-socket", str(socket)),
            # The file that is found here is the proxy's own.
            *("--config", os.devnull),
            # We read its lines, and format them anew.
            *("--log-format", "json"),
            *options.flags,
        )

    def _socket_of(self, name: str) -> Path:
        number = next(self._numbers)
        plain = re.sub(r"[^A-Za-z0-9_-]", "-", name)
        path = self._options.folder / f"{plain}-{number}.sock"
        if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
            return self._options.folder / f"{number}.sock"
        return path


def _pipe(*, reader: ExitStack | None, writer: ExitStack) -> tuple[int, int]:
    """A pipe, of which each end is closed by whoever it belongs to."""
    read, write = os.pipe()
    if reader is not None:
        reader.callback(os.close, read)
    writer.callback(os.close, write)
    return read, write


async def _open(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """The pipe's reading end, which the transport closes."""
    loop = asyncio.get_running_loop()
    stream = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(descriptor, "rb", buffering=0)
    )
    return stream, transport
