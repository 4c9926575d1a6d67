"""Result of a run of `prism bench`, as lines for people and as JSON fields."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from prism.cli.bench.closed_loop import ClosedLoop, Tally
from prism.cli.bench.workload import Workload
from prism.cli.streams import number_columns
from prism.ports import PrismError
from prism.ports.text import counted

_PERCENTS = (50, 90, 99, 99.9)
_NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class _Measured:
    """Figures of one operation; latencies in milliseconds."""

    calls: int
    calls_per_s: float
    failed: int
    latency_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Error:
    """Failed calls of one operation, with the same error."""

    operation: str
    code: str
    reason: str
    calls: int


def lines_of(loop: ClosedLoop, workload: Workload, callers: int) -> list[str]:
    """Return a table of operations, and one of errors if there are any."""
    head = [
        "",
        "calls",
        "calls/s",
        *(f"p{percent} ms" for percent in _PERCENTS),
        "max ms",
        "errors",
    ]
    tallies = _tallies(loop, workload)
    body = [_row(name, tally, loop.seconds) for name, tally in tallies.items()]
    lines = [
        f"{loop.seconds:.1f} s, {counted(callers, 'caller')} in a closed loop, {workload.mix}, "
        f"{counted(workload.keys, 'key')}, values of {counted(len(workload.value), 'byte')}",
        *number_columns([head, *body, _row("all", loop.total, loop.seconds)]),
    ]
    if errors := _errors(loop, workload):
        table = [["error", "code", "reason", "calls"]]
        table += [[e.operation, e.code, e.reason, f"{e.calls:,}"] for e in errors]
        lines += ["", *number_columns(table)]
    return lines


def fields_of(loop: ClosedLoop, workload: Workload, callers: int) -> dict[str, object]:
    """Return the same as JSON fields."""
    return {
        "seconds": round(loop.seconds, 3),
        "callers": callers,
        "mix": workload.mix.weights,
        "keys": workload.keys,
        "value_bytes": len(workload.value),
        **asdict(_measured(loop.total, loop.seconds)),
        "operations": {
            name: asdict(_measured(tally, loop.seconds))
            for name, tally in _tallies(loop, workload).items()
        },
        "errors": [asdict(error) for error in _errors(loop, workload)],
    }


def _tallies(loop: ClosedLoop, workload: Workload) -> dict[str, Tally]:
    return {name: loop.tallies[name] for name in workload.mix.weights if name in loop.tallies}


def _row(name: str, tally: Tally, seconds: float) -> list[str]:
    measured = _measured(tally, seconds)
    return [
        name,
        f"{measured.calls:,}",
        f"{measured.calls_per_s:,.0f}",
        *(f"{ms:.2f}" for ms in measured.latency_ms.values()),
        f"{measured.failed:,}",
    ]


def _measured(tally: Tally, seconds: float) -> _Measured:
    latencies = {f"p{p}": tally.succeeded.percentile(p) for p in _PERCENTS}
    latencies["max"] = tally.succeeded.max
    return _Measured(
        calls=tally.succeeded.count,
        calls_per_s=round(tally.succeeded.count / seconds, 1) if seconds else 0.0,
        failed=tally.failed.total(),
        latency_ms={name: round(ns / _NS_PER_MS, 3) for name, ns in latencies.items()},
    )


def _errors(loop: ClosedLoop, workload: Workload) -> list[_Error]:
    return [
        _Error(name, _code_of(error), reason, calls)
        for name, tally in _tallies(loop, workload).items()
        for (error, reason), calls in tally.failed.most_common()
    ]


def _code_of(error: type[PrismError]) -> str:
    # Imported here: the names of the codes come with grpc's messages.
    from google.rpc import code_pb2

    from prism.adapters.wire.status import status_of

    return str(code_pb2.Code.Name(status_of(error("")).code))
