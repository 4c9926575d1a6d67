"""Plugin for a pytest process that collects the tests of an area, and runs each plan in a fork.

To import Prism and to collect the acceptance suite takes seconds; a fork takes milliseconds.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.mutants.functions import LoadedFunctions, NotInFunctionsError
from tests.mutants.mutations import tree_of
from tests.mutants.plugin import PLAN, Plan, arrange

NOT_IN_FUNCTIONS = 100
"""Status of a run whose change is not one of functions alone."""

_FAILED = 1
_START_SECONDS = 300.0
_END_SECONDS = 30.0
_POLL_SECONDS = 0.05


class Forks:
    """The process; a context manager that starts and ends it."""

    def __init__(self, start: Callable[[Path], subprocess.Popen[bytes]]) -> None:
        """Keep how to start it.

        Args:
            start: starts a process that serves at this socket.
        """
        self._start = start
        self._folder = tempfile.TemporaryDirectory(prefix="prism-mutants-")
        self._socket = Path(self._folder.name) / "socket"

    def __enter__(self) -> Self:
        self._process = self._start(self._socket)
        deadline = time.monotonic() + _START_SECONDS
        while not self._socket.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise RuntimeError("the process that collects the tests does not serve")
            time.sleep(_POLL_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def run(self, plan: Plan, seconds: float) -> int | None:
        """Run a plan in a fork, and return its status, None if it takes longer.

        The servers that its tests have started end with it.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds)
            connection.connect(str(self._socket))
            connection.sendall(json.dumps(asdict(plan)).encode())
            connection.shutdown(socket.SHUT_WR)
            group = int(connection.recv(16))
            try:
                # The process ends without a status when a test hangs.
                status = connection.recv(1) or bytes([_FAILED])
                connection.settimeout(_END_SECONDS)
                with suppress(TimeoutError):
                    connection.recv(1)
            except TimeoutError:
                return None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
        return status[0]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Fork for each connection, until the process that started this one ends."""
    plan = session.config.stash[PLAN]
    functions = LoadedFunctions(Path(plan.source), map(Path, plan.files))
    path = plan.socket
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}-")
        listener.listen()
        listener.settimeout(1)
        Path(f"{path}-").rename(path)
        while os.getppid() == parent:
            with suppress(TimeoutError):
                connection, _ = listener.accept()
                if os.fork() == 0:
                    listener.close()
                    _run(session, connection, functions)
                connection.close()
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    return True


def _run(session: pytest.Session, connection: socket.socket, functions: LoadedFunctions) -> None:
    status = NOT_IN_FUNCTIONS
    try:
        os.setsid()
        connection.setblocking(True)
        with connection.makefile("rb") as request:
            plan = Plan(**json.loads(request.read()))
        connection.sendall(b"%d" % os.getpid())
        if plan.mutant is not None:
            functions.change(plan.file, tree_of(plan.mutant, Path(plan.file).read_text()))
        # For the processes that tests start.
        _, *others = os.environ["PYTHONPATH"].split(os.pathsep)
        os.environ["PYTHONPATH"] = os.pathsep.join([plan.source, *others])
        status = _FAILED
        _run_tests(session, plan)
        status = _FAILED if session.shouldfail else 0
        connection.sendall(bytes([status]))
        session._setupstate.teardown_exact(None)
    except NotInFunctionsError:
        connection.sendall(bytes([status]))
    finally:
        os._exit(status)


def _run_tests(session: pytest.Session, plan: Plan) -> None:
    session.config.stash[PLAN] = plan
    arrange(plan, session.items)
    for item, following in zip(session.items, [*session.items[1:], None], strict=True):
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            return
