"""Tasks, threads and descriptors of this process, to find what a backend leaves behind."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from prism.testing.suite.backend import Level
from prism.testing.suite.timing import TimeLimitExceeded, wait_until

_DESCRIPTORS = next(
    (path for path in (Path("/proc/self/fd"), Path("/dev/fd")) if path.is_dir()), None
)


@dataclass(frozen=True, slots=True)
class Resources:
    """Resources in use at one moment.

    Attributes:
        level: level of the backend.
        tasks: number of unfinished tasks of the event loop, by the name of their coroutine.
        threads: names of the running threads, without those that asyncio keeps for later use.
        descriptors: number of open descriptors by what they are: a path, `socket`, `pipe`;
            empty where the system does not list them.
    """

    level: Level
    tasks: Counter[str]
    threads: Counter[str]
    descriptors: Counter[str]

    @classmethod
    def of(cls, level: Level) -> Resources:
        """Return the resources in use now.

        Args:
            level: level of the backend. Descriptors and threads are counted in process only:
                elsewhere the gRPC library opens and closes them at times of its own.
        """
        names = (getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
        tasks = Counter(names)
        if level is not Level.IN_PROCESS:
            return cls(level, tasks, Counter(), Counter())
        threads = (thread.name.rstrip("0123456789") for thread in threading.enumerate())
        return cls(
            level,
            tasks,
            Counter(name for name in threads if not name.startswith("asyncio_")),
            _descriptors(),
        )

    async def wait_for_return(
        self, what: str, *, kept_descriptors: int = 0, within: timedelta = timedelta(seconds=10)
    ) -> None:
        """Wait until no more resources are in use than at this moment.

        Args:
            what: what may have left them behind, for the failure message.
            kept_descriptors: number of further descriptors that may be open.
            within: time limit, scaled by the test's `timeout_factor`.
        """
        left = self

        async def returned() -> bool:
            nonlocal left
            now = Resources.of(self.level)
            left = replace(
                self,
                tasks=now.tasks - self.tasks,
                threads=now.threads - self.threads,
                descriptors=now.descriptors - self.descriptors,
            )
            more = now.descriptors.total() - self.descriptors.total()
            return not left.tasks and not left.threads and more <= kept_descriptors

        try:
            await wait_until(returned, f"nothing is left of {what}", within)
        except TimeLimitExceeded as error:
            raise TimeLimitExceeded(
                f"{error}; tasks: {_shown(left.tasks)}; threads: {_shown(left.threads)}; "
                f"descriptors: {_shown(left.descriptors)}"
            ) from None


def _descriptors() -> Counter[str]:
    found: Counter[str] = Counter()
    for descriptor in _DESCRIPTORS.iterdir() if _DESCRIPTORS else ():
        try:
            name = re.sub(r":\[\d+\]$", "", str(descriptor.readlink()))
        except OSError:
            name = "unknown"
        found[name] += 1
    return found


def _shown(counted: Counter[str]) -> str:
    return ", ".join(f"{count} of {name}" for name, count in counted.items()) or "none"
