"""What a run measured, for people and for programs."""

from __future__ import annotations

from typing import Any

from prism.cli.bench.closed_loop import Tally
from prism.cli.bench.run import Run
from prism.cli.bench.table import aligned
from prism.ports import PrismError

_PERCENTS = (50, 90, 99, 99.9)
_NS_PER_MS = 1e6


def lines_of(run: Run) -> list[str]:
    """A table of operations, and one of errors if there are any."""
    loop, workload = run.loop, run.workload
    head = [
        "",
        "calls",
        "calls/s",
        *(f"p{percent} ms" for percent in _PERCENTS),
        "max ms",
        "errors",
    ]
    body = [_row(name, loop.tallies[name], loop.seconds) for name in _operations(run)]
    lines = [
        f"{loop.seconds:.1f} s, {run.callers:,} callers in a closed loop, {workload.mix}, "
        f"{workload.keys:,} keys, values of {len(workload.value):,} bytes",
        *aligned([head, *body, _row("all", loop.total, loop.seconds)]),
    ]
    if errors := _errors(run):
        table = [["error", "code", "reason", "calls"]]
        table += [[e["operation"], e["code"], e["reason"], f"{e['calls']:,}"] for e in errors]
        lines += ["", *aligned(table)]
    return lines


def fields_of(run: Run) -> dict[str, Any]:
    """The same as JSON fields; latencies in milliseconds."""
    loop, workload = run.loop, run.workload
    return {
        "seconds": round(loop.seconds, 3),
        "callers": run.callers,
        "mix": workload.mix.weights,
        "keys": workload.keys,
        "value_bytes": len(workload.value),
        "interrupted": run.interrupted,
        **_fields(loop.total, loop.seconds),
        "operations": {
            name: _fields(loop.tallies[name], loop.seconds) for name in _operations(run)
        },
        "errors": _errors(run),
    }


def _operations(run: Run) -> list[str]:
    return [name for name in run.workload.mix.weights if name in run.loop.tallies]


def _row(name: str, tally: Tally, seconds: float) -> list[str]:
    fields = _fields(tally, seconds)
    latencies = [f"{ms:.2f}" for ms in fields["latency_ms"].values()]
    return [
        name, f"{fields['calls']:,}", f"{fields['calls_per_s']:,.0f}", *latencies,
        f"{fields['failed']:,}",
    ]  # fmt: skip


def _fields(tally: Tally, seconds: float) -> dict[str, Any]:
    latencies = {f"p{p}": tally.succeeded.percentile(p) for p in _PERCENTS}
    latencies["max"] = tally.succeeded.max
    return {
        "calls": tally.succeeded.count,
        "calls_per_s": round(tally.succeeded.count / seconds, 1) if seconds else 0.0,
        "failed": tally.failed.total(),
        "latency_ms": {name: round(ns / _NS_PER_MS, 3) for name, ns in latencies.items()},
    }


def _errors(run: Run) -> list[dict[str, Any]]:
    return [
        {"operation": name, "code": _code_of(error), "reason": reason, "calls": calls}
        for name in _operations(run)
        for (error, reason), calls in run.loop.tallies[name].failed.most_common()
    ]


def _code_of(error: type[PrismError]) -> str:
    # Here, because the names of the codes come with grpc's messages.
    from google.rpc import code_pb2

    from prism.adapters.wire.status import status_of

    return str(code_pb2.Code.Name(status_of(error("")).code))
