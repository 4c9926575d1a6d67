"""Forks for each connection, and runs `prism` with the arguments and streams that it brings."""

from __future__ import annotations

import atexit
import marshal
import os
import select
import signal
import socket
import sys
import traceback
from importlib import import_module

from prism.cli import commands, main

# What commands import when they run.
_MODULES = (
    *(f"prism.cli.{name}" for name in commands._MODULES.values()),
    "prism.adapters.client",
    "prism.cli.diagnosis",
)


def serve(path: str) -> None:
    """Serve until the standard input ends."""
    for name in _MODULES:
        import_module(name)
    # The kernel forgets the forks that have ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    os.write(1, b"ready\n")
    while True:
        ready, _, _ = select.select([listener.fileno(), 0], [], [])
        if 0 in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _run(connection)
        connection.close()


def _run(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as request:
        arguments, folder, environment = marshal.loads(request.read(int.from_bytes(size, "big")))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["prism", *arguments]
    status = 1
    try:
        status = _status_of_main()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        # As where an interpreter ends: the measurement of coverage writes its file.
        atexit._run_exitfuncs()
        connection.send(bytes([status]))
        os._exit(status)


def _status_of_main() -> int:
    try:
        main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
