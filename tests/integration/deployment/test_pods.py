"""The containers of the manifests run, with their arguments, variables and files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.integration.conftest import ProxyServer, Server
from tests.integration.deployment.files import KUBERNETES, Pod
from tests.integration.documentation.reader import StartServer
from tests.servers.nats import NatsServer
from tests.servers.redis import RedisServer

TOKEN = "an-admin-token"
BIN = Path(sys.executable).parent


class Container:
    """The container of Prism in a variant, as processes on this machine.

    Its mounts are folders below `root`, and its ports are free ones.
    """

    def __init__(self, variant: str, root: Path, replacements: Mapping[str, str]) -> None:
        self._pod = Pod(variant)
        self._root = root
        self.mounts = {
            mount["mountPath"]: root / mount["mountPath"][1:]
            for mount in self._pod.prism["volumeMounts"]
        }
        for folder in self.mounts.values():
            folder.mkdir(parents=True)
        config = self._pod.config
        for old, new in replacements.items():
            assert old in config
            config = config.replace(old, new)
        self.write("/etc/prism/config.yaml", config)
        self._variables = {name: self.local(text) for name, text in self._pod.env.items()}

    def local(self, text: str) -> str:
        """Return the text with the paths of this machine."""
        for mount, folder in self.mounts.items():
            if text.removeprefix("--config=").removeprefix("unix:").startswith(f"{mount}/"):
                return text.replace(mount, str(folder), 1)
        return text

    def write(self, path: str, content: str) -> None:
        Path(self.local(path)).write_text(content)

    def start(self, start_server: StartServer) -> Server:
        args = [self.local(each) for each in self._pod.prism["args"]]
        proxy = self._pod.prism.get("command", ["serve"])[-1] == "proxy"
        # Drains at once: no load balancer has to notice.
        ports = {"PRISM_GRPC_PORT": "0", "PRISM_METRICS_PORT": "0", "PRISM_DRAIN_DELAY": "0s"}
        server: Server = start_server(
            *args,
            env={**self._variables, **ports},
            free_ports=False,
            kind=ProxyServer if proxy else Server,
        )
        return server.serving()

    def run(self, server: Server, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as `kubectl exec` does."""
        variables = dict(self._variables)
        if "PRISM_ADDRESS" in variables:
            port = server.address.rpartition(":")[2]
            variables["PRISM_ADDRESS"] = variables["PRISM_ADDRESS"].replace("9090", port)
        path = f"{BIN}:{os.environ['PATH']}"
        return subprocess.run(
            [self.local(each) for each in command],
            env={"PATH": path, **variables},
            capture_output=True,
            text=True,
            check=False,
        )


def _write_certificate(container: Container, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    container.write("/run/secrets/tls/tls.crt", cert.read_text())
    container.write("/run/secrets/tls/tls.key", key.read_text())
    container.write("/run/secrets/tls/ca.crt", cert.read_text())


CA = ("--tls-ca", "/run/secrets/tls/ca.crt")


@pytest.mark.parametrize("variant", ["memstore", "sqlite", "redis", "nats", "proxy"])
def test_a_variant_serves_with_its_files(
    variant: str,
    tmp_path: Path,
    start_server: StartServer,
    redis_server: RedisServer,
    nats_server: NatsServer,
) -> None:
    replacements = {
        "redis": {"redis://redis:6379/0": redis_server.url},
        "nats": {"nats://nats:4222": nats_server.url, "replicas: 3": "replicas: 1"},
        "sqlite": {"/var/lib/prism/": f"{tmp_path}/var/lib/prism/"},
    }
    replacements["proxy"] = {**replacements["redis"], **replacements["nats"]}
    container = Container(variant, tmp_path, replacements.get(variant, {}))
    server = container.start(start_server)
    done = container.run(server, "prism", "kv", "set", "greeting", "hello", *_at(server))
    assert (done.returncode, done.stderr) == (0, "")
    assert server.metrics_address is not None
    port = server.metrics_address.rpartition(":")[2]
    with urlopen(f"http://127.0.0.1:{port}/ready") as answer:
        assert answer.status == 200
    # Without a token nobody can stop it from outside.
    refused = container.run(server, "prism", "lifecycle", "stop", *_at(server))
    assert (refused.returncode, "--admin-token-file" in refused.stderr) == (1, True)


def test_a_new_pod_finds_the_keys_on_the_volume(tmp_path: Path, start_server: StartServer) -> None:
    replacements = {"/var/lib/prism/": f"{tmp_path}/var/lib/prism/"}
    container = Container("sqlite", tmp_path, replacements)
    first = container.start(start_server)
    container.run(first, "prism", "kv", "set", "greeting", "hello", *_at(first))
    first.stop()
    second = container.start(start_server)
    found = container.run(second, "prism", "kv", "get", "greeting", *_at(second))
    assert (found.returncode, found.stdout) == (0, "hello")
    # The command in the head of kustomization.yaml.
    head = (KUBERNETES / "sqlite" / "kustomization.yaml").read_text()
    (command,) = re.findall(r"-- (prism backup .*)", head)
    copied = container.run(second, *command.split())
    assert copied.returncode == 0, copied.stderr
    assert (container.mounts["/var/lib/prism"] / "monday.db").is_file()


def test_a_secure_proxy_can_be_administered(
    tmp_path: Path, start_server: StartServer, certificate: tuple[Path, Path]
) -> None:
    with (
        RedisServer({"requirepass": "redis-secret"}) as redis,
        NatsServer({"authorization": {"token": "nats-secret"}}) as nats,
    ):
        container = Container(
            "proxy-secure",
            tmp_path,
            {"redis://redis:6379/0": redis.url, "nats://nats:4222": nats.url, "s: 3": "s: 1"},
        )
        _write_certificate(container, certificate)
        container.write("/run/secrets/admin/token", f"{TOKEN}\n")
        container.write("/run/secrets/backends/redis-password", "redis-secret\n")
        container.write("/run/secrets/backends/nats-token", "nats-secret\n")
        server = container.start(start_server)
        for command in (
            ["kv", "set", "key", "value"],
            ["kv", "set", "key", "value", "--pattern", "orders"],
            ["patterns", "restart", "orders"],
            ["patterns", "list"],
        ):
            done = container.run(server, "prism", *command, *CA)
            assert done.returncode == 0, f"{command}: {done.stderr}"
        assert "sessions" in done.stdout
        server.stop()


def test_a_secure_server_refuses_other_tokens_and_plain_connections(
    tmp_path: Path, start_server: StartServer, certificate: tuple[Path, Path]
) -> None:
    with RedisServer({"requirepass": "redis-secret"}) as redis:
        container = Container("redis-secure", tmp_path, {"redis://redis:6379/0": redis.url})
        _write_certificate(container, certificate)
        container.write("/run/secrets/admin/token", TOKEN)
        container.write("/run/secrets/redis/password", "redis-secret")
        server = container.start(start_server)
        plain = container.run(server, "prism", "kv", "exists", "key")
        assert (plain.returncode, "--tls-ca" in plain.stderr) == (1, True)
        (tmp_path / "other").write_text("another token")
        other = ("--admin-token-file", str(tmp_path / "other"))
        refused = container.run(server, "prism", "lifecycle", "drain", *CA, *other)
        assert refused.returncode == 1
        stopped = container.run(server, "prism", "lifecycle", "stop", *CA)
        assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
        assert server.wait() == 0


def test_a_sidecar_is_reached_over_its_socket(
    tmp_path: Path, start_server: StartServer, redis_server: RedisServer
) -> None:
    container = Container("sidecar", tmp_path, {"redis://redis:6379/0": redis_server.url})
    server = container.start(start_server)
    (app,) = (each for each in Pod("sidecar").containers if each["name"] == "app")
    (address,) = (each["value"] for each in app["env"] if each["name"] == "PRISM_ADDRESS")
    # One round of the application's loop, which a signal ends while it sleeps.
    (loop,) = app["args"]
    with subprocess.Popen(
        [*app["command"], loop],
        env={
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PRISM_ADDRESS": container.local(address),
        },
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) >= 1
        process.terminate()
        assert process.wait(30) == 0
    # Over a Unix socket no token is needed.
    stopped = container.run(server, "prism", "lifecycle", "stop", "--address", address)
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert server.wait() == 0


def _at(server: Server) -> tuple[str, str]:
    return ("--address", f"127.0.0.1:{server.address.rpartition(':')[2]}")
