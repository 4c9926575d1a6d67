"""The command `prism bench`."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Annotated

import typer

from prism.cli.arguments import AsJson, TtlOption, parser, positive_duration
from prism.cli.bench.mix import Mix, parse_mix
from prism.cli.bench.mixed import Workload, own_prefix
from prism.cli.bench.report import fields_of, lines_of
from prism.cli.bench.run import Run
from prism.cli.connection import Connection, address_of, connected_to_keys
from prism.cli.errors import Status, tell
from prism.cli.output import write_json, write_line

_DEFAULT_MIX = parse_mix("get=80,set=18,delete=1,incr=1")
_DEFAULT_DURATION = timedelta(seconds=10)


@connected_to_keys
def bench(
    connection: Connection,
    address: Annotated[
        str,
        typer.Argument(
            envvar="PRISM_ADDRESS",
            metavar="ADDRESS",
            parser=parser(address_of),
            help="HOST:PORT or unix:PATH of the server.",
        ),
    ] = "127.0.0.1:9090",
    mix: Annotated[
        Mix,
        typer.Option(
            metavar="OPERATION=WEIGHT,…",
            parser=parser(parse_mix),
            show_default=str(_DEFAULT_MIX),
            help="What the load is made of: get, set, delete, incr.",
        ),
    ] = _DEFAULT_MIX,
    callers: Annotated[int, typer.Option(metavar="N", min=1, help="Calls in flight.")] = 64,
    keys: Annotated[int, typer.Option(metavar="N", min=1, help="Keys to choose from.")] = 10_000,
    value_size: Annotated[int, typer.Option(metavar="BYTES", min=0, help="Of each value.")] = 64,
    duration: Annotated[
        timedelta,
        typer.Option(
            metavar="DURATION",
            parser=positive_duration,
            show_default="10s",
            help="How long to go on for.",
        ),
    ] = _DEFAULT_DURATION,
    ttl: TtlOption = None,
    prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="What its keys begin with, and a random part.")
    ] = "bench:",
    as_json: AsJson = False,
) -> None:
    """Put a mixed load on a server, and print rates, latencies and errors.

    It works on keys of its own below the prefix, which are deleted at the end,
    also after Ctrl-C. One process with one connection makes the load.

    The loop is closed: each caller waits for its answer before it calls again. A
    server that stalls is asked less meanwhile, so compare rates, and do not read
    the percentiles as what callers would see who keep coming. Exit status 1 when
    no call succeeded.
    """
    workload = Workload(
        mix=mix,
        keys=keys,
        value=random.randbytes(value_size),  # noqa: S311
        ttl=ttl,
        prefix=own_prefix(prefix),
    )
    run = Run(workload, callers=callers, duration=duration)
    try:
        replace(connection, address=address).run(run)
    finally:
        if run.left_behind is not None:
            tell(f"the keys under {workload.prefix} are not all deleted: {run.left_behind}")
    if as_json:
        write_json(**fields_of(run))
    else:
        for line in lines_of(run):
            write_line(line)
    if run.interrupted:
        tell("interrupted; this is what was measured until then")
        raise typer.Exit(Status.INTERRUPTED)
    if not run.loop.total.succeeded.count:
        tell("no call succeeded")
        raise typer.Exit(Status.FAILURE)
