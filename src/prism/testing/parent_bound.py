"""Runs `prism` in a process that ends when its parent ends; started by its path.

Standard input is a pipe from the parent, which the operating system closes however the
parent ends. The module imports nothing from this package: a proxy needs no pytest.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

KILL_AFTER_SECONDS = 15.0


def _end_with_parent() -> None:
    """Wait for the end of standard input, then end this process.

    This runs in a thread, so that it works even while the event loop is stuck.
    """
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(KILL_AFTER_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    from prism.cli import main

    threading.Thread(target=_end_with_parent, name="parent watcher", daemon=True).start()
    main()
