"""The life of a pod: process 1 with what Kubernetes injects, from early stops to a drain."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
import redis

import prism
from prism import TLS
from prism.ports import BackendUnavailable, NotServing, Outcome, PrismError
from tests.integration.conftest import TIMEOUT_S
from tests.servers.authority import Authority
from tests.servers.process import free_port
from tests.servers.redis import RedisServer

_NAMESPACE = ("unshare", "--fork", "--pid", "--mount-proc", "--kill-child")

# As in the image: SIGTERM waits until there is a handler for it.
_PROGRAM = ("env", "--block-signal=TERM", sys.executable, "-P", "-m", "prism.bootstrap")

# What Kubernetes sets for Services named prism, prism-grpc and prism-metrics.
_INJECTED = {
    "PRISM_SERVICE_HOST": "10.0.0.5",
    "PRISM_SERVICE_PORT": "9090",
    "PRISM_PORT": "tcp://10.0.0.5:9090",
    "PRISM_PORT_9090_TCP": "tcp://10.0.0.5:9090",
    "PRISM_PORT_9090_TCP_PROTO": "tcp",
    "PRISM_GRPC_PORT": "tcp://10.0.0.6:9090",
    "PRISM_GRPC_SERVICE_HOST": "10.0.0.6",
    "PRISM_METRICS_PORT": "tcp://10.0.0.7:9091",
    "PRISM_METRICS_PORT_9091_TCP_ADDR": "10.0.0.7",
}

_BACKEND_AFTER_S = 5.0


class Pod:
    """A server that is process 1 of its namespace.

    Attributes:
        log: path of its log.
        pid: process id outside the namespace.
    """

    def __init__(self, folder: Path, name: str, *args: str) -> None:
        self.log = folder / f"{name}.log"
        clean = {name: v for name, v in os.environ.items() if not name.startswith("PRISM_")}
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [*_NAMESPACE, *_PROGRAM, *args],
                cwd=folder,
                env={**clean, **_INJECTED},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.pid = self._first_child()

    def _first_child(self) -> int:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        deadline = time.monotonic() + TIMEOUT_S
        while not (found := children.read_text().split()):
            assert self._process.poll() is None, self._cannot_unshare()
            assert time.monotonic() < deadline, "unshare starts no child"
            time.sleep(0.001)
        return int(found[0])

    def _cannot_unshare(self) -> str:
        return (
            "this test needs 'unshare --pid' of util-linux and the right to use it (root, or "
            f"CAP_SYS_ADMIN): {self.log.read_text()}"
        )

    def python_runs(self) -> bool:
        """Return whether the interpreter has taken the place of unshare and env."""
        return Path(f"/proc/{self.pid}/comm").read_text().strip() not in ("unshare", "env")

    def terminate(self) -> None:
        """Send SIGTERM to process 1."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Wait for the end; return the exit status."""
        return self._process.wait(TIMEOUT_S)

    def close(self) -> None:
        """Kill what is left."""
        self._process.kill()
        self._process.wait()

    @property
    def events(self) -> Iterator[dict[str, object]]:
        """Events in its log so far."""
        for line in self.log.read_text().splitlines():
            if line.startswith("{"):
                yield json.loads(line)

    def logged(self, message: str) -> bool:
        """Return whether an event begins with the message."""
        return any(str(event["message"]).startswith(message) for event in self.events)


async def _until(condition: object, what: str) -> None:
    assert callable(condition)
    deadline = time.monotonic() + TIMEOUT_S
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.05)


@pytest.fixture(scope="module", autouse=True)
def namespaces() -> None:
    """Fail, and do not skip, where a process cannot be process 1."""
    if shutil.which("unshare") is None:
        pytest.fail("unshare is missing: on Debian, 'apt install util-linux' brings it")
    done = subprocess.run([*_NAMESPACE, "true"], capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"these tests need root, or CAP_SYS_ADMIN: unshare says {done.stderr.strip()}")


def test_a_stop_in_the_first_moments_ends_a_pod_with_status_0(tmp_path: Path) -> None:
    # No backend ever answers at this port.
    ports = ("--grpc-port", "0", "--metrics-port", "0")
    args = (*ports, "--driver", "redis", "--redis-url", f"redis://127.0.0.1:{free_port()}")
    for after_s in (0.05, 0.2, 0.5):
        pod = Pod(tmp_path, f"{after_s}", *args)
        try:
            while not pod.python_runs():
                time.sleep(0.001)
            time.sleep(after_s)
            pod.terminate()
            assert pod.wait() == 0, pod.log.read_text()
        finally:
            pod.close()


class Writers:
    """Callers that write increasing numbers, each to a key of its own, until they are refused.

    Attributes:
        acknowledged: last number of each key that the server has confirmed.
        attempted: last number of each key that was sent.
        failures: errors before the end began.
    """

    def __init__(self) -> None:
        self.acknowledged: dict[str, int] = {}
        self.attempted: dict[str, int] = {}
        self.failures: list[str] = []
        self.ending = False

    async def run(self, kv: prism.Client, key: str) -> None:
        number = 0
        while True:
            number += 1
            try:
                self.attempted[key] = number
                await kv.set(key, b"%d" % number)
            except PrismError as error:
                if not self.ending:
                    self.failures.append(error.message)
                elif isinstance(error, NotServing | BackendUnavailable):
                    # It drains, or has gone already.
                    if error.outcome is Outcome.NOT_APPLIED:
                        self.attempted[key] = number - 1
                    return
                await asyncio.sleep(0.01)
            else:
                self.acknowledged[key] = number


@asynccontextmanager
async def _writing(address: str, tls: TLS) -> AsyncIterator[Writers]:
    writers = Writers()
    async with prism.connect(address, tls=tls) as kv:
        tasks = [asyncio.create_task(writers.run(kv, f"key-{number}")) for number in range(16)]
        try:
            yield writers
            async with asyncio.timeout(TIMEOUT_S):
                await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()


def _readiness(port: int) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{port}/ready") as answer:
            return answer.status, ""
    except HTTPError as refused:
        return refused.code, json.load(refused)["reason"]
    except (URLError, OSError):
        return 0, ""


@pytest.mark.parametrize("transport", ["h2corn"])
async def test_a_pod_waits_for_its_backend_renews_its_certificate_and_drains(
    tmp_path: Path, transport: str
) -> None:
    authority = Authority("cluster")
    cert, key = authority.write(tmp_path, "tls")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.pem)
    grpc_port, http_port = free_port(), free_port()
    backend = RedisServer()
    pod = Pod(
        tmp_path,
        "life",
        *("--driver", "redis", "--redis-url", backend.url, "--transport", transport),
        *("--tls-cert", str(cert), "--tls-key", str(key), "--drain-delay", "500ms"),
        *("--grpc-port", str(grpc_port), "--metrics-port", str(http_port)),
    )
    try:
        began = time.monotonic()
        await _until(lambda: _readiness(http_port)[0] == 503, "not ready")
        await _until(lambda: pod.logged("waiting for the backend"), "waiting")
        status, reason = _readiness(http_port)
        assert (status, "waiting for the backend" in reason) == (503, True)
        await asyncio.sleep(max(_BACKEND_AFTER_S - (time.monotonic() - began), 0.0))
        assert not pod.logged("serving")
        await backend.start()
        await _until(lambda: _readiness(http_port)[0] == 200, "ready")

        async with _writing(f"127.0.0.1:{grpc_port}", TLS(ca=ca)) as writers:
            await _until(lambda: sum(writers.acknowledged.values()) > 500, "written")
            authority.write(tmp_path, "tls")
            await _until(lambda: pod.logged("the TLS files have changed"), "renewed")
            written = sum(writers.acknowledged.values())
            await _until(lambda: sum(writers.acknowledged.values()) > written + 500, "written")
            assert writers.failures == []
            writers.ending = True
            pod.terminate()
            await _until(lambda: _readiness(http_port)[0] != 200, "not ready again")
        assert await asyncio.to_thread(pod.wait) == 0
        drained = next(event for event in pod.events if event["message"] == "drained")
        assert drained["aborted"] == 0
        with redis.Redis(port=backend.port) as client:
            for name, number in writers.acknowledged.items():
                stored = int(client.get(f"prism:{name}") or 0)
                assert number <= stored <= writers.attempted[name]
        ignored = {str(e["message"]).split("=")[0] for e in pod.events if e["level"] == "warning"}
        assert {"PRISM_GRPC_PORT", "PRISM_METRICS_PORT"} <= ignored
        assert not [event for event in pod.events if event["level"] == "error"]
        assert "Traceback" not in pod.log.read_text()
    finally:
        pod.close()
        backend.close()
