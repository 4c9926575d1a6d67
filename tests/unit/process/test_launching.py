"""Real processes: their start, their arguments and pipes, and their end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from prism.ports import PreconditionFailed
from tests.unit.process.conftest import TOKEN, Launch, Records

ARGUMENTS = "import json, sys; print(json.dumps(sys.argv[1:]))"
OPEN = (
    "import os, sys\n"
    "fd = int(sys.argv[sys.argv.index('--proxy-fd') + 1])\n"
    "pipe = os.fdopen(fd)\n"
    "print('token', pipe.readline().strip(), flush=True)\n"
)
SLEEP = "import time\nprint('up', flush=True)\ntime.sleep(100)\n"


def pipes_of(process: object) -> set[str]:
    """Return the pipes that a process has open."""
    pipes = set()
    for each in Path("/proc", str(process), "fd").iterdir():
        with suppress(OSError):
            pipes.add(str(each.readlink()))
    return {each for each in pipes if each.startswith("pipe:")}


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def first_line(records: Records) -> str:
    """Wait for the first line of output, and return it."""
    async with asyncio.timeout(20):
        while not records.messages:
            await asyncio.sleep(0.005)
    return records.messages[0]


async def test_arguments_name_driver_proxy_and_socket(
    launch: Launch, records: Records, tmp_path: Path
) -> None:
    process = await launch(ARGUMENTS, flags=("--debug",))
    assert await process.wait() == "exited with status 0"
    arguments = json.loads(await first_line(records))
    given = dict(zip(arguments[:-1:2], arguments[1:-1:2], strict=True))
    assert given.pop("--proxy-fd").isdigit()
    assert given == {
        "--driver": "memstore",
        "--proxy-address": "unix:/nowhere/control.sock",
        "--grpc-socket": str(tmp_path / "sessions-1.sock"),
        "--config": "/dev/null",
        "--log-format": "json",
    }
    assert arguments[-1] == "--debug"


async def test_token_comes_through_the_pipe_and_not_by_an_argument(
    launch: Launch, records: Records
) -> None:
    process = await launch(
        OPEN
        + "assert pipe.name and sys.argv and not any("
        + repr(TOKEN)
        + " in each for each in sys.argv)"
    )
    assert await process.wait() == "exited with status 0"
    assert records.messages == [f"token {TOKEN}"]


async def test_pipe_stays_open_while_the_process_runs(launch: Launch, records: Records) -> None:
    process = await launch(
        OPEN + "import select\n"
        "print('open', not select.select([pipe], [], [], 0.2)[0], flush=True)\n"
        "pipe.read()"
    )
    await records.until("open True")
    process.terminate()
    assert await process.wait() == "was killed by SIGTERM"


async def test_descriptors_are_closed_after_the_end(launch: Launch) -> None:
    await (await launch("pass")).wait()
    before = pipes_of("self")
    for _ in range(3):
        await (await launch("pass")).wait()
    async with asyncio.timeout(30):
        while not pipes_of("self") <= before:
            await asyncio.sleep(0.005)


async def test_process_does_not_inherit_the_pipes_of_another(
    launch: Launch, records: Records
) -> None:
    """Otherwise the end of the proxy would not close the other's pipe."""
    wait = OPEN + "pipe.read()"
    first, second = await launch(wait, "first"), await launch(wait, "second")
    async with asyncio.timeout(20):
        while len(records.messages) < 2:
            await asyncio.sleep(0.005)
    ours = pipes_of("self")
    assert pipes_of(first.pid) & ours
    assert pipes_of(second.pid) & ours
    assert not pipes_of(first.pid) & pipes_of(second.pid) & ours


async def test_environment_has_only_the_needed_variables(launch: Launch, records: Records) -> None:
    process = await launch(
        "import json, os; print(json.dumps(dict(os.environ)))",
        environment={
            "PATH": "/usr/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "PYTHONUTF8": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317",
            "SSL_CERT_FILE": "/etc/ssl/cert.pem",
            "PRISM_REDIS_PASSWORD": "hunter2",
            "AWS_SECRET_ACCESS_KEY": "hunter2",
        },
    )
    await process.wait()
    assert set(json.loads(await first_line(records))) == {
        "PATH",
        "HOME",
        "LC_ALL",
        "PYTHONUTF8",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "SSL_CERT_FILE",
    }


async def test_stdin_is_empty_and_the_process_leads_a_session(
    launch: Launch, records: Records
) -> None:
    process = await launch(
        "import os, sys\n"
        "print(repr(sys.stdin.read()), os.getpid() == os.getsid(0) == os.getpgid(0))"
    )
    await process.wait()
    assert await first_line(records) == "'' True"


async def test_end_is_described_with_the_last_line(launch: Launch) -> None:
    process = await launch("raise SystemExit('the backend at 127.0.0.1:1 cannot be reached')")
    assert await process.wait() == (
        "exited with status 1: the backend at 127.0.0.1:1 cannot be reached"
    )


async def test_secrets_in_the_last_line_are_redacted(launch: Launch) -> None:
    process = await launch(
        "raise SystemExit('no answer: redis://:hunter2@127.0.0.1:6379')",
        redact=lambda text: text.replace("hunter2", "***"),
    )
    assert await process.wait() == ("exited with status 1: no answer: redis://:***@127.0.0.1:6379")


async def test_error_among_the_last_lines_is_preferred_to_the_last_line(
    launch: Launch,
) -> None:
    error = json.dumps({"level": "error", "message": "the port is taken"})
    ended = json.dumps({"level": "info", "message": "ended"})
    process = await launch(f"print({error!r}); print({ended!r}); raise SystemExit(1)")
    assert await process.wait() == "exited with status 1: the port is taken"


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
async def test_end_by_a_signal_is_described_with_its_name(launch: Launch, name: str) -> None:
    process = await launch(SLEEP)
    os.kill(process.pid, getattr(signal, name))
    assert await process.wait() == f"was killed by {name}"


async def test_process_that_ignores_sigterm_can_be_killed(launch: Launch, records: Records) -> None:
    process = await launch(
        # Not by print(), which may just be printing "up" when the signal arrives.
        "import os, signal\nsignal.signal(signal.SIGTERM, lambda *_: os.write(1, b'no\\n'))\n"
        + SLEEP
    )
    await records.until("up")
    process.terminate()
    await records.until("no")
    process.kill()
    assert await process.wait() == "was killed by SIGKILL"


async def test_signals_after_the_end_do_nothing(launch: Launch) -> None:
    process = await launch("pass")
    await process.wait()
    process.terminate()
    process.kill()
    assert await process.wait() == "exited with status 0"


async def test_descendants_are_killed_with_the_process(launch: Launch, records: Records) -> None:
    """A descendant that holds the output open does not delay the end."""
    process = await launch(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'])\n"
        "print(child.pid, flush=True)\n"
        "raise SystemExit(3)"
    )
    async with asyncio.timeout(20):
        assert await process.wait() == f"exited with status 3: {await first_line(records)}"
    child = int(await first_line(records))
    async with asyncio.timeout(20):
        while is_running(child):
            await asyncio.sleep(0.005)


async def test_socket_is_removed_after_the_end(launch: Launch, tmp_path: Path) -> None:
    process = await launch(
        "import socket, sys\n"
        "path = sys.argv[sys.argv.index('--grpc-socket') + 1]\n"
        "socket.socket(socket.AF_UNIX).bind(path)"
    )
    await process.wait()
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - not blocking for long


async def test_path_of_the_socket_is_short_enough_for_every_system(
    launch: Launch, records: Records
) -> None:
    process = await launch(ARGUMENTS, "n" * 120)
    await process.wait()
    arguments = json.loads(await first_line(records))
    assert len(arguments[arguments.index("--grpc-socket") + 1]) <= 100


async def test_command_that_cannot_be_run_is_named_in_the_error(launch: Launch) -> None:
    with pytest.raises(PreconditionFailed, match="'sessions' cannot be launched: /nowhere/python"):
        await launch("", command=("/nowhere/python",))
