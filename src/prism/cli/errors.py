"""Exit statuses of the command line, and errors as one line on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

import typer
from typer.core import TyperGroup

from prism.adapters.observability.formatting import escaped
from prism.ports import PrismError, VersionConflict, WatchEnded

if TYPE_CHECKING:
    from typer._click import Context


class ExitStatus(IntEnum):
    """Exit statuses; the table in docs/command-line.md lists them. Typer itself exits with 2."""

    FAILURE = 1
    NO_SUCH_KEY = 3
    CONFLICT = 4
    WATCH_ENDED = 5
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class PrismGroup(TyperGroup):
    """Top-level group: every failure of a command is one line on stderr and an exit status."""

    def invoke(self, ctx: Context) -> object:
        with errors_as_status():
            return super().invoke(ctx)


def print_message(message: str) -> None:
    """Print one line on stderr, after the name of the program."""
    # The message may quote a server, which may quote its callers.
    typer.echo(f"prism: {escaped(message)}", err=True)


def no_such_key(key: str) -> typer.Exit:
    """Print that the key does not exist; return the exception to raise."""
    print_message(f"there is no key {key!r}")
    return typer.Exit(ExitStatus.NO_SUCH_KEY)


@contextmanager
def errors_as_status() -> Iterator[None]:
    """Turn an exception into a line on stderr and an exit status."""
    try:
        yield
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise
    except KeyboardInterrupt as error:
        raise _exit(ExitStatus.INTERRUPTED, "interrupted", error) from None
    except VersionConflict as error:
        raise _exit(ExitStatus.CONFLICT, error.message, error) from None
    except WatchEnded as error:
        raise _exit(ExitStatus.WATCH_ENDED, error.message, error) from None
    except PrismError as error:
        raise _exit(ExitStatus.FAILURE, error.message, error) from None
    except BrokenPipeError:
        # The reader has closed the pipe. The interpreter flushes stdout once more when it
        # exits, and would print an error of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(ExitStatus.BROKEN_PIPE) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        raise _exit(ExitStatus.FAILURE, f"{where}{error.strerror or error}", error) from None
    except Exception as error:
        if os.environ.get("PRISM_TRACEBACK"):
            raise
        text = f"a defect in prism: {type(error).__name__}: {error}"
        print_message(f"{text} (set PRISM_TRACEBACK=1 to see where)")
        raise typer.Exit(ExitStatus.FAILURE) from None


def _exit(status: ExitStatus, message: str, error: BaseException) -> typer.Exit:
    """Print the message with the notes that callers added to the error."""
    print_message("; ".join([message, *getattr(error, "__notes__", [])]))
    return typer.Exit(status)
