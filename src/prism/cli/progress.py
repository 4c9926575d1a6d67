"""Progress of a long run: a bar if stderr is a terminal, and a line with the rate at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prism.cli.errors import print_message
from prism.ports.text import counted

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


class Progress:
    """Progress of one run.

    Args:
        bar: the bar that shows it; None: nothing is shown but messages.
    """

    def __init__(self, bar: Bar | None = None, total: int | None = None) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=total) if bar is not None else None

    def show(self, completed: int, total: int | None = None) -> None:
        """Move the bar.

        Args:
            total: new total; None: as before.
        """
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=completed, total=total)

    def print_message(self, message: str) -> None:
        """Print a line on stderr, above the bar."""
        if self._bar is None:
            print_message(message)
        else:
            self._bar.console.print(
                f"prism: {message}", markup=False, highlight=False, soft_wrap=True
            )


class Stopwatch:
    """Time since the stopwatch was made."""

    def __init__(self) -> None:
        self._start_s = time.perf_counter()

    @property
    def seconds(self) -> float:
        return max(time.perf_counter() - self._start_s, 1e-6)

    def rate(self, count: int) -> str:
        """Return text such as `in 2.1 s (95,238 pairs/s)`."""
        seconds = self.seconds
        return f"in {seconds:.1f} s ({counted(round(count / seconds), 'pair')}/s)"


@contextmanager
def progress_bar(label: str, *, total: int | None = None) -> Iterator[Progress]:
    """Show a bar on stderr if that is a terminal; it disappears when the run ends."""
    if not sys.stderr.isatty():
        yield Progress()
        return
    # rich is imported only for a terminal.
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn(label),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        yield Progress(bar, total)
