"""How far a long run is: a bar on a terminal, and a line with the rate at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prism.cli.errors import tell

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


class Progress:
    """Of a run; nothing of it shows unless there is a bar."""

    def __init__(self, bar: Bar | None = None, total: int | None = None) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=total) if bar is not None else None

    def show(self, completed: int, total: int | None = None) -> None:
        """Move the bar to `completed`, of a new total if there is one."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=completed, total=total)

    def tell(self, message: str) -> None:
        """A line on stderr, above the bar."""
        if self._bar is None:
            tell(message)
        else:
            self._bar.console.print(
                f"prism: {message}", markup=False, highlight=False, soft_wrap=True
            )


class Stopwatch:
    """Started when it is made."""

    def __init__(self) -> None:
        self._start_s = time.perf_counter()

    @property
    def seconds(self) -> float:
        return max(time.perf_counter() - self._start_s, 1e-6)

    def rate(self, count: int) -> str:
        """Such as `in 2.1 s (95,238 pairs/s)`."""
        seconds = self.seconds
        return f"in {seconds:.1f} s ({count / seconds:,.0f} pairs/s)"


@contextmanager
def progress(doing: str, *, total: int | None = None, wanted: bool = True) -> Iterator[Progress]:
    """A bar on stderr if that is a terminal, gone when the run is over."""
    if not (wanted and sys.stderr.isatty()):
        yield Progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn(doing),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        yield Progress(bar, total)
