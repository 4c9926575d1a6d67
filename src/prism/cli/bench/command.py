"""`prism bench`: fills keys, loads a running server, clears the keys, and reports."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from typer.main import get_group

from prism.cli.bench.closed_loop import ClosedLoop
from prism.cli.bench.report import fields_of, lines_of
from prism.cli.bench.workload import Mix, Workload, parse_mix, unique_prefix
from prism.cli.connection import BenchCommand, connection_of
from prism.cli.errors import ExitStatus, print_message
from prism.cli.parameters import AsJson, TtlOption, example, parser, positive_duration
from prism.cli.progress import Progress, progress_bar
from prism.cli.streams import write_json, write_line
from prism.ports import PrismError

if TYPE_CHECKING:
    from prism import Client

_DEFAULT_MIX = parse_mix("get=80,set=18,delete=1,incr=1")
_DEFAULT_DURATION = timedelta(seconds=10)
_PROGRESS_INTERVAL_S = 0.1


app = typer.Typer(rich_markup_mode=None)


@app.command(cls=BenchCommand, epilog=example("bench 127.0.0.1:9090 --mix get=1 --duration 5s"))
def bench(
    ctx: typer.Context,
    mix: Annotated[
        Mix,
        typer.Option(
            metavar="OPERATION=WEIGHT,…",
            parser=parser(parse_mix),
            show_default=str(_DEFAULT_MIX),
            help="Operations of the load, with weights: get, set, delete, incr.",
        ),
    ] = _DEFAULT_MIX,
    callers: Annotated[int, typer.Option(metavar="N", min=1, help="Calls in flight.")] = 64,
    keys: Annotated[int, typer.Option(metavar="N", min=1, help="Number of keys.")] = 10_000,
    value_size: Annotated[
        int, typer.Option(metavar="BYTES", min=0, help="Size of each value.")
    ] = 64,
    duration: Annotated[
        timedelta,
        typer.Option(
            metavar="DURATION",
            parser=positive_duration,
            show_default="10s",
            help="Length of the load.",
        ),
    ] = _DEFAULT_DURATION,
    ttl: TtlOption = None,
    prefix: Annotated[
        str,
        typer.Option(metavar="TEXT", help="Start of the keys of the load; a random part follows."),
    ] = "bench:",
    as_json: AsJson = False,
) -> None:
    """Measure a server under a mixed load.

    Prints rates, latencies and errors. The load uses keys of its own below the prefix and deletes
    them at the end, also after Ctrl-C. The load comes from one process with one connection.

    The loop is closed: each caller waits for its reply before it calls again. A server that stalls
    gets fewer calls meanwhile, so compare rates; callers that do not wait see longer latencies than
    these percentiles. Exit status 1 if no call succeeded.
    """
    workload = Workload(
        mix=mix,
        keys=keys,
        value=random.randbytes(value_size),  # noqa: S311
        ttl=ttl,
        prefix=unique_prefix(prefix),
    )
    run = Run(workload, callers=callers, duration=duration)
    try:
        connection_of(ctx).run(run)
    finally:
        if run.left_behind is not None:
            print_message(
                f"the keys under {workload.prefix} are not all deleted: {run.left_behind}"
            )
    if as_json:
        write_json(**_fields(run))
    else:
        for line in lines_of(run.loop, workload, callers):
            write_line(line)
    if run.interrupted:
        print_message("interrupted: the results end there")
        raise typer.Exit(ExitStatus.INTERRUPTED)
    if not run.loop.total.succeeded.count:
        print_message("no call succeeded")
        raise typer.Exit(ExitStatus.FAILURE)


class Run:
    """One run: fill, load, clear. Called once, with a client.

    Attributes:
        loop: the measured calls.
        interrupted: whether Ctrl-C ended the load early.
        left_behind: why some keys may not be deleted; None: all are deleted.
    """

    def __init__(self, workload: Workload, *, callers: int, duration: timedelta) -> None:
        self.workload = workload
        self.callers = callers
        self.interrupted = False
        self.left_behind: str | None = None
        self.loop = ClosedLoop(callers=callers)
        self._seconds = duration.total_seconds()

    async def __call__(self, client: Client) -> None:
        self.left_behind = "interrupted"
        try:
            with progress_bar("filling", total=self.workload.keys) as progress:
                await self.workload.fill(client, client.profile, progress.show)
            draw = self.workload.calls(client)
            total_ms = int(self._seconds * 1000)
            with progress_bar("loading", total=total_ms) as progress, _elapsed(progress):
                await self.loop.run(draw, self._seconds)
        except asyncio.CancelledError:
            # After Ctrl-C the keys are deleted all the same. A second Ctrl-C ends that too.
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            self.interrupted = True
        finally:
            await self._clear(client)

    async def _clear(self, client: Client) -> None:
        try:
            with progress_bar("clearing", total=self.workload.keys) as progress:
                await self.workload.clear(client, client.profile, progress.show)
        except PrismError as error:
            self.left_behind = error.message
        else:
            self.left_behind = None


def _fields(run: Run) -> dict[str, object]:
    fields = fields_of(run.loop, run.workload, run.callers)
    return {**fields, "interrupted": run.interrupted}


@contextlib.contextmanager
def _elapsed(progress: Progress) -> Iterator[None]:
    """Show the elapsed milliseconds."""
    start_s = time.perf_counter()

    async def tick() -> None:
        while True:
            await asyncio.sleep(_PROGRESS_INTERVAL_S)
            progress.show(int((time.perf_counter() - start_s) * 1000))

    ticking = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticking.cancel()


COMMANDS = get_group(app).commands
