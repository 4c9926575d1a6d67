"""Real processes: how they are started, what they are handed, and how they end."""

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
    """The pipes that a process has open."""
    pipes = set()
    for each in Path("/proc", str(process), "fd").iterdir():
        with suppress(OSError):
            pipes.add(str(each.readlink()))
    return {each for each in pipes if each.startswith("pipe:")}


def is_running(pid: int) -> bool:
    """Neither gone, nor dead and not asked for yet."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def said(records: Records) -> str:
    """The first line it printed."""
    async with asyncio.timeout(20):
        while not records.messages:
            await asyncio.sleep(0.005)
    return records.messages[0]


async def test_it_is_told_what_to_be_and_where_to_call_back(
    launch: Launch, records: Records, tmp_path: Path
) -> None:
    process = await launch(ARGUMENTS, flags=("--debug",))
    assert await process.wait() == "exited with status 0"
    arguments = json.loads(await said(records))
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


async def test_its_token_comes_through_the_descriptor_and_is_not_among_its_arguments(
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


async def test_the_descriptor_stays_open_for_as_long_as_the_process_lives(
    launch: Launch, records: Records
) -> None:
    process = await launch(
        OPEN + "import select\n"
        "print('open', not select.select([pipe], [], [], 0.2)[0], flush=True)\n"
        "pipe.read()"
    )
    await records.until("open True")
    process.terminate()
    assert await process.wait() == "was killed by SIGTERM"


async def test_descriptors_are_closed_when_it_has_ended(launch: Launch) -> None:
    await (await launch("pass")).wait()
    before = pipes_of("self")
    for _ in range(3):
        await (await launch("pass")).wait()
    assert pipes_of("self") <= before


async def test_one_pattern_does_not_hold_the_descriptors_of_another(
    launch: Launch, records: Records
) -> None:
    """Or it would not learn that the proxy is gone."""
    wait = OPEN + "pipe.read()"
    first, second = await launch(wait, "first"), await launch(wait, "second")
    async with asyncio.timeout(20):
        while len(records.messages) < 2:
            await asyncio.sleep(0.005)
    ours = pipes_of("self")
    assert pipes_of(first.pid) & ours
    assert pipes_of(second.pid) & ours
    assert not pipes_of(first.pid) & pipes_of(second.pid) & ours


async def test_its_environment_holds_nothing_that_it_does_not_need(
    launch: Launch, records: Records
) -> None:
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
    assert set(json.loads(await said(records))) == {
        "PATH",
        "HOME",
        "LC_ALL",
        "PYTHONUTF8",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "SSL_CERT_FILE",
    }


async def test_it_reads_nothing_and_leads_a_session_of_its_own(
    launch: Launch, records: Records
) -> None:
    process = await launch(
        "import os, sys\n"
        "print(repr(sys.stdin.read()), os.getpid() == os.getsid(0) == os.getpgid(0))"
    )
    await process.wait()
    assert await said(records) == "'' True"


async def test_its_last_words_tell_why_it_ended(launch: Launch) -> None:
    process = await launch("raise SystemExit('the backend at 127.0.0.1:1 cannot be reached')")
    assert await process.wait() == (
        "exited with status 1: the backend at 127.0.0.1:1 cannot be reached"
    )


async def test_its_last_words_hold_no_secret(launch: Launch) -> None:
    process = await launch(
        "raise SystemExit('no answer: redis://:hunter2@127.0.0.1:6379')",
        redact=lambda text: text.replace("hunter2", "***"),
    )
    assert await process.wait() == ("exited with status 1: no answer: redis://:***@127.0.0.1:6379")


async def test_an_error_among_the_last_lines_is_told_rather_than_the_last_line(
    launch: Launch,
) -> None:
    error = json.dumps({"level": "error", "message": "the port is taken"})
    ended = json.dumps({"level": "info", "message": "ended"})
    process = await launch(f"print({error!r}); print({ended!r}); raise SystemExit(1)")
    assert await process.wait() == "exited with status 1: the port is taken"


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
async def test_a_signal_is_told_by_its_name(launch: Launch, name: str) -> None:
    process = await launch(SLEEP)
    os.kill(process.pid, getattr(signal, name))
    assert await process.wait() == f"was killed by {name}"


async def test_one_that_ignores_sigterm_is_killed(launch: Launch, records: Records) -> None:
    process = await launch(
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: print('no', flush=True))\n" + SLEEP
    )
    await records.until("up")
    process.terminate()
    await records.until("no")
    process.kill()
    assert await process.wait() == "was killed by SIGKILL"


async def test_signals_to_one_that_has_ended_do_nothing(launch: Launch) -> None:
    process = await launch("pass")
    await process.wait()
    process.terminate()
    process.kill()
    assert await process.wait() == "exited with status 0"


async def test_what_it_started_ends_with_it(launch: Launch, records: Records) -> None:
    """And does not keep it from being taken for ended, although it holds its output open."""
    process = await launch(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'])\n"
        "print(child.pid, flush=True)\n"
        "raise SystemExit(3)"
    )
    async with asyncio.timeout(20):
        assert await process.wait() == f"exited with status 3: {await said(records)}"
    child = int(await said(records))
    async with asyncio.timeout(20):
        while is_running(child):
            await asyncio.sleep(0.005)


async def test_its_socket_is_removed_when_it_has_ended(launch: Launch, tmp_path: Path) -> None:
    process = await launch(
        "import socket, sys\n"
        "path = sys.argv[sys.argv.index('--grpc-socket') + 1]\n"
        "socket.socket(socket.AF_UNIX).bind(path)"
    )
    await process.wait()
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - not blocking for long


async def test_the_path_of_its_socket_is_short_enough_for_every_system(
    launch: Launch, records: Records
) -> None:
    process = await launch(ARGUMENTS, "n" * 120)
    await process.wait()
    arguments = json.loads(await said(records))
    assert len(arguments[arguments.index("--grpc-socket") + 1]) <= 100


async def test_a_command_that_cannot_be_run_is_refused_by_its_name(launch: Launch) -> None:
    with pytest.raises(PreconditionFailed, match="'sessions' cannot be launched: /nowhere/python"):
        await launch("", command=("/nowhere/python",))
