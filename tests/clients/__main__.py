"""`python -m tests.clients`: runs every client on every backend; exit status 1 if one fails.

If all clients pass, `--write` renews their table in the documentation.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from prism.ports.text import counted
from prism.testing.markdown_block import replace_block
from tests.clients.clients import CLIENTS, Client, Tool
from tests.clients.environment import PROJECT, Environment
from tests.integration.conftest import Server
from tests.servers.nats import NatsServer

DOCUMENT = PROJECT / "docs" / "redis-clients.md"
BACKENDS = ("memstore", "nats")

# NATS has no transactions, and most of these clients send MULTI with a pipeline.
_LOOSE = ("--resp-transactions", "loose")


@contextmanager
def serving(backend: str) -> Iterator[int]:
    """Serve a backend to Redis clients; yield the port."""
    arguments = ["--driver", backend, "--grpc-port", "0", "--metrics-port", "0"]
    arguments += ["--resp-port", "0", "--resp-allow-flush"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="prism-clients-")))
        if backend == "nats":
            nats = stack.enter_context(NatsServer())
            arguments += ["--nats-url", nats.url, *_LOOSE]
        server = Server(tuple(arguments), {}, folder)
        stack.callback(server.close)
        yield int(server.serving().redis_address.rpartition(":")[2])


def run(
    backend: str, clients: Sequence[Client | Tool], environment: Environment
) -> Mapping[str, str]:
    """Run clients one after the other; return what went wrong with each."""
    failures = {}
    with serving(backend) as port:
        for client in clients:
            name, _ = client.describes
            begun = time.monotonic()
            failures[name] = failure = client.run(environment, port)
            verdict = f"failed\n{failure}" if failure else "passed"
            sys.stdout.write(f"{backend:9} {time.monotonic() - begun:5.1f} s  {name}: {verdict}\n")
            sys.stdout.flush()
    return failures


def table(environment: Environment) -> str:
    """Return the table of clients that passed."""
    lines = [f"| client | version | what it uses | {' | '.join(BACKENDS)} |", "|---" * 5 + "|"]
    for client in CLIENTS:
        name, uses = client.describes
        lines.append(f"| {name} | {client.version(environment)} | {uses} | ✓ | ✓ |")
    return "\n".join(lines)


def main() -> int:
    """Install, run, report; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="clients with this in the name")
    parser.add_argument("--write", action="store_true", help=f"renew the table in {DOCUMENT.name}")
    options = parser.parse_args()
    chosen = [each for each in CLIENTS if options.only.lower() in each.describes[0].lower()]
    if not chosen:
        parser.error(f"no client has {options.only!r} in its name")
    environment = Environment()
    environment.install()
    begun = time.monotonic()
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda backend: run(backend, chosen, environment), BACKENDS))
    failed = sum(1 for result in results for failure in result.values() if failure)
    seconds = time.monotonic() - begun
    sys.stdout.write(
        f"{counted(len(chosen), 'client')} on {' and '.join(BACKENDS)} in {seconds:.0f} s: "
        f"{failed} failed\n"
    )
    if options.write and not failed and chosen == list(CLIENTS):
        DOCUMENT.write_text(replace_block(DOCUMENT.read_text(), "clients", table(environment)))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
