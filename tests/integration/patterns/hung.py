"""Process with a lifeline and a stuck event loop; the argument is the descriptor."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import timedelta

from prism.bootstrap.managed.lifeline import Lifeline
from prism.bootstrap.signals import handle_signals


async def main() -> None:
    with handle_signals(lambda _: None, lambda: None):
        await Lifeline(int(sys.argv[1]), timedelta(milliseconds=10)).token()
        sys.stdout.write("stuck\n")
        sys.stdout.flush()
        time.sleep(1000)  # noqa: ASYNC251  (blocks the loop on purpose)


asyncio.run(main())
