"""What a failure looks like on the command line: one line, and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import typer
from typer.core import TyperGroup

from prism.adapters.observability.formatting import escaped
from prism.ports import PrismError, VersionConflict, WatchEnded


class Status(IntEnum):
    """Exit statuses; 2, for wrong usage, is Typer's own."""

    FAILURE = 1
    ABSENT = 3
    CONFLICT = 4
    WATCH_ENDED = 5
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class ErrorsAsStatus(TyperGroup):
    """A group below which every failure is told in one line on stderr."""

    def invoke(self, ctx: Any) -> Any:
        with errors_as_status():
            return super().invoke(ctx)


def tell(message: str) -> None:
    """One line on stderr, under the program's name."""
    # It may quote what a server said, which says it for others.
    typer.echo(f"prism: {escaped(message)}", err=True)


def absent(key: str) -> typer.Exit:
    """To be raised when a command needs a key that does not exist."""
    tell(f"there is no key {key!r}")
    return typer.Exit(Status.ABSENT)


@contextmanager
def errors_as_status() -> Iterator[None]:
    try:
        yield
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise
    except KeyboardInterrupt as error:
        tell(_with_notes("interrupted", error))
        raise typer.Exit(Status.INTERRUPTED) from None
    except VersionConflict as error:
        tell(_with_notes(error.message, error))
        raise typer.Exit(Status.CONFLICT) from None
    except WatchEnded as error:
        tell(_with_notes(error.message, error))
        raise typer.Exit(Status.WATCH_ENDED) from None
    except PrismError as error:
        tell(_with_notes(error.message, error))
        raise typer.Exit(Status.FAILURE) from None
    except BrokenPipeError:
        # The reader has what it wanted. The interpreter flushes stdout once more
        # on its way out, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(Status.BROKEN_PIPE) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        tell(_with_notes(f"{where}{error.strerror or error}", error))
        raise typer.Exit(Status.FAILURE) from None
    except Exception as error:
        if os.environ.get("PRISM_TRACEBACK"):
            raise
        tell(
            f"a defect in prism: {type(error).__name__}: {error} "
            "(set PRISM_TRACEBACK=1 to see where)"
        )
        raise typer.Exit(Status.FAILURE) from None


def _with_notes(message: str, error: BaseException) -> str:
    """Whoever an error passed on its way up may have added what it means there."""
    return "; ".join([message, *getattr(error, "__notes__", [])])
