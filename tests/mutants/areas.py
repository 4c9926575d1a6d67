"""What is mutated, and the tests that must notice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Area:
    """A part of Prism and its tests.

    Attributes:
        modules: patterns of the files that are mutated, relative to the project.
        tests: arguments for pytest, the quickest tests first.
        elsewhere: which of the tests start processes that may run the modules.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    elsewhere: tuple[str, ...] = ("tests/integration",)

    def files(self) -> Iterator[Path]:
        """Yield the path of each module."""
        for pattern in self.modules:
            yield from sorted(ROOT.glob(pattern))

    def position(self, test: str) -> tuple[int, str]:
        """Return what orders tests: first their place in `tests`, then their class."""
        places = (at for at, prefix in enumerate(self.tests) if test.startswith(prefix))
        return min(places), test.partition("[")[0].rpartition("::")[0]


AREAS = {
    "memstore": Area(
        ("src/prism/adapters/memstore/*.py",),
        ("tests/unit/memstore", "tests/contract/test_memstore.py::TestInProcess"),
    ),
    "sqlite": Area(
        ("src/prism/adapters/sqlite/*.py",),
        (
            "tests/unit/sqlite",
            "tests/contract/test_sqlite.py::TestInProcess",
            "tests/integration/sqlite",
        ),
    ),
    "redis": Area(
        ("src/prism/adapters/redis/*.py",),
        (
            "tests/unit/redis",
            "tests/contract/test_redis.py::TestInProcess",
            "tests/integration/redis",
            "tests/contract/test_redis_cluster.py",
        ),
    ),
    "nats": Area(
        ("src/prism/adapters/nats/*.py",),
        (
            "tests/unit/nats",
            "tests/contract/test_nats.py::TestInProcess",
            "tests/integration/nats",
        ),
    ),
    "gateway": Area(
        ("src/prism/domain/gateway.py", "src/prism/domain/batches.py", "src/prism/domain/scans.py"),
        ("tests/unit/domain", "tests/contract/test_memstore.py::TestInProcess"),
    ),
    "servicers": Area(
        (
            "src/prism/adapters/grpc/servicers/key_value.py",
            "src/prism/adapters/grpc/servicers/operate/*.py",
            "src/prism/adapters/wire/keyvalue_messages.py",
        ),
        (
            "tests/unit/wire",
            "tests/unit/grpc",
            "tests/unit/tracing",
            "tests/contract/test_memstore.py::TestOverGrpc",
            "tests/integration/forwarding",
        ),
    ),
    "client": Area(
        ("src/prism/adapters/client/*.py",),
        (
            "tests/unit/remote",
            "tests/integration/forwarding/test_traces.py",
            "tests/integration/forwarding/test_deadlines_and_limits.py",
            "tests/integration/remote",
            # A part of the acceptance suite; every other test here is quicker.
            "--ignore=tests/integration/remote/test_by_unary_calls.py",
        ),
        ("tests/integration/remote/test_processes.py",),
    ),
}
