"""Attack real servers and proxies on both transports, and judge what others notice.

Each line of the table is one attack: the memory of the server before it, at its peak, and ten
seconds after it; how long another client waited, and for /health; what the attacker saw; and
the verdict. An attack succeeds if one of these promises is broken:

- 99 of 100 calls of the other client take less than 250 ms, none fails, and /health answers
  within 1 s (short form: none fails or takes 30 s, for the machine may do other work);
- the memory stays below 512 MiB, and returns to within 20 % of what it was, or to within
  96 MiB, which allocators keep after the first time and not after each (short form: 128 MiB);
- everything that the server prints is a log line of Prism, and not more than 1 MiB;
- the server is ready and accepts connections afterwards.

A trial that fails is repeated once, on a new server. Exits with 1 when a verdict fails.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import typer

import tests.attack.attacks  # noqa: F401  # fills ATTACKS
from prism.testing.markdown_block import replace_block
from tests.attack.registry import ATTACKS, Attack, Place
from tests.attack.table import BLOCK, HEAD, documentation, row
from tests.attack.trial import Stage, Trial

TRANSPORTS = ("h2corn", "grpcio")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make attack",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--short", action="store_true", help="a small form, within 3 minutes")
    parser.add_argument(
        "--write", metavar="FILE", type=Path, help="replace the table of this Markdown file"
    )
    parser.add_argument("--only", metavar="NAME", help="attacks whose name contains this")
    parser.add_argument("--transport", choices=TRANSPORTS, help="default: both")
    parser.add_argument("--list", action="store_true", help="list the attacks, and end")
    options = parser.parse_args()
    chosen = [each for each in ATTACKS if (options.only or "") in each.name]
    if not chosen:
        parser.error(f"no attack is named {options.only}")
    if options.list:
        for each in chosen:
            typer.echo(f"{each.name:36} {each.summary}")
        return 0
    transports = (options.transport,) if options.transport else TRANSPORTS
    typer.echo(HEAD)
    trials = []
    for trial in _trials(chosen, transports, is_short=options.short):
        typer.echo(row(trial))
        trials.append(trial)
    failed = [trial for trial in trials if trial.has_failed]
    if options.write:
        table = documentation(trials, transports)
        options.write.write_text(replace_block(options.write.read_text(), BLOCK, table))
    typer.echo(f"\n{len(failed)} attacks succeeded" if failed else "\nno attack succeeded")
    for trial in failed:
        typer.echo(row(trial))
    return 1 if failed else 0


def _trials(
    chosen: list[Attack], transports: tuple[str, ...], *, is_short: bool
) -> Iterator[Trial]:
    for place in Place:
        # The ports of other protocols are the same with every transport.
        other = place in (Place.HTTP, Place.REDIS)
        for transport in transports[:1] if other else transports:
            here = [each for each in chosen if place in (each.short if is_short else each.places)]
            yield from _on_one_server(place, transport, here, is_short)


def _on_one_server(
    place: Place, transport: str, chosen: list[Attack], is_short: bool
) -> Iterator[Trial]:
    """Yield a trial of each attack; after one that fails, the server is a new one."""
    left = list(chosen)
    repeated = False
    while left:
        with Stage(place, transport) as stage:
            while left:
                trial = stage.try_attack(left[0], is_short=is_short)
                if trial.has_failed and not repeated:
                    repeated = True
                    break
                yield trial
                del left[0]
                repeated = False
                if trial.broken or not is_short:
                    break


if __name__ == "__main__":
    sys.exit(main())
