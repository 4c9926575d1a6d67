"""Exit statuses of the command line, and errors as one line on stderr: text, or JSON.

With `--json` the line is an object: `code` is the name of the gRPC status (null: Prism did not
call a server), `reason` identifies the error, `message` is for people, and `outcome` says whether
a write was applied (null: nothing was written, or that is not known as a whole).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

import typer
from typer.core import TyperGroup

from prism.adapters.observability.formatting import escaped
from prism.ports import Outcome, PrismError, VersionConflict, WatchEnded

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

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: Context | None = None,
        **extra: object,
    ) -> Context:
        # Help and the version are printed while the command line is parsed.
        with errors_as_status():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Context) -> object:
        given = [*ctx._protected_args, *ctx.args]
        options = given[: given.index("--")] if "--" in given else given
        with errors_as_status(as_json="--json" in options):
            return super().invoke(ctx)


_OUTCOME_NOTES = {
    Outcome.NOT_APPLIED: "it was not applied",
    Outcome.UNKNOWN: "it may or may not have been applied",
}


def note_outcome(error: BaseException, outcome: Outcome) -> None:
    """Say in the error of a write whether the write was applied."""
    error.add_note(_OUTCOME_NOTES[outcome])


def print_message(message: str) -> None:
    """Print one line on stderr, after the name of the program."""
    # The message may quote a server, which may quote its callers.
    typer.echo(f"prism: {escaped(message)}", err=True)


def no_such_key(key: str) -> typer.Exit:
    """Print that the key does not exist; return the exception to raise."""
    print_message(f"there is no key {key!r}")
    return typer.Exit(ExitStatus.NO_SUCH_KEY)


@contextmanager
def errors_as_status(*, as_json: bool = False) -> Iterator[None]:
    """Turn an exception into a line on stderr and an exit status.

    Args:
        as_json: whether the line is a JSON object.
    """
    show = _print_json if as_json else _print_text
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except typer.TyperException as error:
        if not as_json or error.exit_code == 0:
            raise
        show(error, error.format_message(), "USAGE")
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt as error:
        show(error, "interrupted", "INTERRUPTED")
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    except PrismError as error:
        show(error, error.message, error.reason)
        raise typer.Exit(_status_of(error)) from None
    except BrokenPipeError:
        # The reader has closed the pipe. The interpreter flushes stdout once more when it
        # exits, and would print an error of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(ExitStatus.BROKEN_PIPE) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        show(error, f"{where}{error.strerror or error}", "OS_ERROR")
        raise typer.Exit(ExitStatus.FAILURE) from None
    except Exception as error:
        if os.environ.get("PRISM_TRACEBACK"):
            raise
        text = f"a defect in prism: {type(error).__name__}: {error}"
        show(error, f"{text} (set PRISM_TRACEBACK=1 to see where)", "DEFECT")
        raise typer.Exit(ExitStatus.FAILURE) from None


def _status_of(error: PrismError) -> ExitStatus:
    if isinstance(error, VersionConflict):
        return ExitStatus.CONFLICT
    return ExitStatus.WATCH_ENDED if isinstance(error, WatchEnded) else ExitStatus.FAILURE


def _print_text(error: BaseException, message: str, _reason: str) -> None:
    """Print the message with the notes that callers added to the error."""
    print_message("; ".join([message, *getattr(error, "__notes__", [])]))


def _print_json(error: BaseException, message: str, reason: str) -> None:
    # Imported for an error only: protobuf takes a while.
    from google.rpc.code_pb2 import Code

    from prism.adapters.wire.status import status_of

    notes: list[str] = getattr(error, "__notes__", [])
    others = [note for note in notes if note not in _OUTCOME_NOTES.values()]
    outcomes = [outcome for outcome, note in _OUTCOME_NOTES.items() if note in notes]
    code = Code.Name(status_of(error).code) if isinstance(error, PrismError) else None
    fields = {
        "code": code,
        "reason": reason,
        "message": "; ".join([message, *others]),
        "outcome": next(iter(outcomes), None),
    }
    typer.echo(json.dumps(fields, ensure_ascii=False), err=True)
