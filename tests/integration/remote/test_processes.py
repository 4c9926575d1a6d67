"""The client in processes that fork, that have several event loops, and that import little."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

import prism
from tests.integration.documentation.pages import ROOT
from tests.servers.relay import TcpRelay


async def run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("how", ["after", "during", "blocking"])
async def test_forked_child_has_connections_of_its_own(serve: Any, how: str) -> None:
    served = await serve()
    async with TcpRelay(int(served.address.rpartition(":")[2])) as relay:
        script = str(Path(__file__).parent / "forking.py")
        status, output = await run(script, f"127.0.0.1:{relay.port}", how)
        assert (status, output) == (0, "fine\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_application_that_gunicorn_loads_before_it_forks_shares_a_client(
    shared_server: Any,
) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--threads", "2"),
            *("--bind", "127.0.0.1:0", "--chdir", str(Path(__file__).parent)),
            "preloaded:application",
        ],
        env={**os.environ, "PRELOADED_ADDRESS": shared_server.address},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    log: list[str] = []
    try:
        for line in process.stderr:
            log.append(line)
            if listening := re.search(r"Listening at: (http://\S+)", line):
                break
        else:
            pytest.fail("".join(log))
        answers: dict[str, list[int]] = {}
        deadline = time.monotonic() + 60
        while len(answers) < 2 or sum(map(len, answers.values())) < 20:
            assert time.monotonic() < deadline, answers
            with urlopen(listening[1], timeout=30) as answer:
                worker, count = answer.read().decode().split()
            answers.setdefault(worker, []).append(int(count))
        process.send_signal(signal.SIGTERM)
        log.append(process.stderr.read())
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    counts = sorted(count for each in answers.values() for count in each)
    assert counts == list(range(2, len(counts) + 2))
    assert "Traceback" not in "".join(log)


async def test_three_event_loops_use_clients_at_once(serve: Any) -> None:
    served = await serve()
    failures: list[BaseException] = []

    async def use(key: str) -> None:
        async with prism.connect(served.address) as kv:
            for _ in range(20):
                await asyncio.gather(*(kv.increment(key) for _ in range(10)))
            assert (await kv.increment(key, 0)).value == 200

    def in_thread(key: str) -> None:
        try:
            asyncio.run(use(key))
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=in_thread, args=(f"k{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        await asyncio.sleep(0.01)
    assert not failures


async def test_client_imports_neither_grpc_nor_what_only_servers_need() -> None:
    heavy = ("grpc", "h2corn", "dependency_injector", "opentelemetry", "typer", "rich", "uvloop")
    code = f"import sys, prism; prism.connect; print([n for n in {heavy!r} if n in sys.modules])"
    assert await run("-c", code) == (0, "[]\n")


async def test_client_needs_only_the_packages_of_its_extra(shared_server: Any) -> None:
    script = str(Path(__file__).parent / "alone.py")
    assert await run(script, shared_server.address) == (0, "fine\n")
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = pyproject["optional-dependencies"]["client"]
    assert {each.partition(">")[0] for each in extra} == {
        "googleapis-common-protos",
        "h2",
        "protobuf",
    }
    assert set(extra) <= set(pyproject["dependencies"])
