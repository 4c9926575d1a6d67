"""First steps of a process, before anything else is imported: signals and standard streams.

Imports nothing but what the interpreter has loaded anyway: a container may be stopped some
milliseconds after its start.
"""

import os
import signal
import sys

_SERVERS = ("serve", "proxy")


def prepare_server() -> None:
    """Prepare a process that is a server: its streams are open, and signals end it."""
    end_on_signals()
    open_standard_streams()


def prepare(arguments: list[str]) -> None:
    """Prepare a process of the command line.

    Args:
        arguments: arguments of the program, without its name.
    """
    if arguments[:1] and arguments[0] in _SERVERS:
        end_on_signals()
    open_standard_streams()


def end_on_signals() -> None:
    """End the process with status 0 at SIGTERM, until a server handles signals.

    Nothing is open yet. The kernel would ignore a signal without a handler where this is
    process 1, as in a container. Signals that arrived while they were blocked count too.
    SIGHUP, which asks a server to read its files again, has nothing to do yet.
    """
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, _do_nothing)
    numbers = {signal.SIGTERM, signal.SIGHUP, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


def open_standard_streams() -> None:
    """Open /dev/null in place of standard streams that the parent has closed.

    Otherwise the next file or socket would get the descriptor of a stream, and be written to.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            stream = os.fdopen(descriptor, mode, encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _end(_number: int, _frame: object) -> None:
    os._exit(0)


def _do_nothing(_number: int, _frame: object) -> None:
    pass
