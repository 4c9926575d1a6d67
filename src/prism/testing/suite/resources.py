"""Tasks and descriptors of this process, to find what a backend leaves behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
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
        descriptors: number of open descriptors; 0 where the system does not list them.
    """

    level: Level
    tasks: Counter[str]
    descriptors: int

    @classmethod
    def of(cls, level: Level) -> Resources:
        """Return the resources in use now.

        Args:
            level: level of the backend. Descriptors are counted in process only: elsewhere the
                gRPC library opens and closes connections at times of its own.
        """
        names = (getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
        counted = _DESCRIPTORS if level is Level.IN_PROCESS else None
        return cls(level, Counter(names), sum(1 for _ in counted.iterdir()) if counted else 0)

    async def wait_for_return(self, what: str) -> None:
        """Wait until no more resources are in use than at this moment.

        Args:
            what: what may have left them behind, for the failure message.
        """
        left = self

        async def returned() -> bool:
            nonlocal left
            now = Resources.of(self.level)
            left = replace(
                self,
                tasks=now.tasks - self.tasks,
                descriptors=max(now.descriptors - self.descriptors, 0),
            )
            return not left.tasks and not left.descriptors

        try:
            await wait_until(returned, f"nothing is left of {what}")
        except TimeLimitExceeded as error:
            tasks = ", ".join(f"{count} of {name}" for name, count in left.tasks.items())
            raise TimeLimitExceeded(
                f"{error}; tasks: {tasks or 'none'}; descriptors: {left.descriptors}"
            ) from None
