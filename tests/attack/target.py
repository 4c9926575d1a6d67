"""Servers under attack, and their figures from the system."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from prism.domain.access.tokens import new_token
from tests.environment import environment_without_coverage
from tests.servers.process import ServerProcess, free_port

STEADY, HUNG = "steady", "hung"
"""Patterns of the proxy: the bystander's, and the one that attacks may freeze."""

POLICY = """
[[rules]]
who = "token:bystander"
role = "administrator"

[[rules]]
who = "token:attacker"
role = "own prefix"
"""
"""What the guarded server lets its callers do, others nothing."""

_OUR_KEYS = {"time", "level", "message", "logger", "service"}


@dataclass(frozen=True)
class Target:
    """Server, as an attack sees it.

    Attributes:
        pid: process of the server or proxy.
        headers: what a call must carry to reach the bystander's pattern, or the token of a caller
            who may use keys of its own alone.
        is_short: whether the attack should be as small as it makes sense.
    """

    grpc_port: int
    http_port: int
    redis_port: int
    transport: str
    pid: int
    headers: tuple[tuple[str, str], ...]
    is_short: bool

    def size(self, full: int, short: int) -> int:
        """Return how much of something the attack should use."""
        return short if self.is_short else full


class PrismProcess(ServerProcess):
    """Server, or proxy with two patterns, on the embedded store.

    Args:
        transport: `h2corn` or `grpcio`.
        is_proxy: whether it is a proxy.
        is_guarded: whether it has a policy.
        max_descriptors: limit on descriptors; None: the system's.
    """

    name = "attacked"
    # A proxy with patterns is several processes, which start on a machine that has other work.
    start_timeout_s = 120.0

    def __init__(
        self,
        transport: str,
        *,
        is_proxy: bool = False,
        is_guarded: bool = False,
        max_descriptors: int | None = None,
    ) -> None:
        super().__init__()
        self._tokens: dict[str, str] = {}
        if is_guarded:
            self._write_policy()
        self.transport = transport
        self.is_proxy = is_proxy
        self.http_port = free_port()
        self.redis_port = free_port()
        self._max_descriptors = max_descriptors

    def _write_policy(self) -> None:
        made = {name: new_token(name) for name in ("bystander", "attacker")}
        self._tokens = {name: token for name, (token, _) in made.items()}
        (self.folder / "policy.toml").write_text(POLICY)
        (self.folder / "tokens").write_text("\n".join(line for _, line in made.values()))

    def headers(self, caller: str) -> tuple[tuple[str, str], ...]:
        """Return what calls must carry: of `bystander`, or of `attacker`."""
        if self.is_proxy:
            return (("prism-pattern", STEADY),)
        token = self._tokens.get(caller)
        return () if token is None else (("authorization", f"Bearer {token}"),)

    def command(self) -> Sequence[str]:
        ports = ["--grpc-port", str(self.port), "--metrics-port", str(self.http_port)]
        ports += ["--resp-port", str(self.redis_port)]
        patterns = ["--pattern", f"{STEADY}=memstore", "--pattern", f"{HUNG}=memstore"]
        command = ["proxy", *patterns] if self.is_proxy else ["serve", "--driver", "memstore"]
        prism = [sys.executable, "-m", "prism.cli", *command, *ports]
        prism += ["--transport", self.transport]
        if self._tokens:
            prism += ["--policy", str(self.folder / "policy.toml")]
            prism += ["--tokens", str(self.folder / "tokens")]
        unmeasured = [f"{name}=" for name in os.environ.keys() - environment_without_coverage()]
        if self._max_descriptors is None:
            return ["env", *unmeasured, *prism]
        limited = f'ulimit -n {self._max_descriptors}; exec "$@"'
        return ["env", *unmeasured, "bash", "-c", limited, "-", *prism]

    def is_up(self) -> bool:
        return self.is_ready()

    def is_ready(self) -> bool:
        """Return whether /ready says yes."""
        try:
            with urlopen(f"http://127.0.0.1:{self.http_port}/ready", timeout=3) as answer:
                return bool(answer.status == 200)
        except (OSError, HTTPException):
            return False

    def target(self, *, is_short: bool) -> Target:
        ports = self.port, self.http_port, self.redis_port
        return Target(*ports, self.transport, self.pid, self.headers("attacker"), is_short)

    def printed_bytes(self) -> int:
        """Return the size of everything printed so far."""
        return (self.folder / "log").stat().st_size

    def foreign_lines(self, since: int) -> list[str]:
        """Return the lines printed since a size of the output that are not ours."""
        with (self.folder / "log").open("rb") as output:
            output.seek(since)
            lines = output.read().decode(errors="replace").splitlines()
        return [line for line in lines if not _is_ours(line)]

    def reset_peak(self) -> None:
        """Forget the peak of memory so far."""
        for pid in process_tree(self.pid):
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def memory_mib(self, field: str = "VmRSS") -> int:
        """Return the memory of the server and its patterns; `VmHWM` is the peak."""
        return sum(_memory_kib(pid, field) for pid in process_tree(self.pid)) // 1024


def process_tree(pid: int) -> Iterator[int]:
    """Yield the process and its descendants."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from process_tree(int(child))


def pattern_process(proxy_pid: int, pattern: str) -> int:
    """Return the process of a pattern."""
    for pid in process_tree(proxy_pid):
        command = Path(f"/proc/{pid}/cmdline").read_text()
        # The socket of a pattern has its name.
        if pid != proxy_pid and f"/{pattern}-" in command:
            return pid
    raise LookupError(f"no process of the pattern {pattern}")


def _memory_kib(pid: int, field: str) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.split(f"{field}:")[1].split()[0])
    except (OSError, IndexError):
        return 0


def _is_ours(line: str) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and entry.keys() >= _OUR_KEYS
