"""Run by its path: `prism`, in a process that ends when whoever started it has ended.

Standard input is a pipe, of which the other end is closed by the system too, whatever
becomes of its owner. Nothing of this package is imported: a proxy needs no pytest.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

END_WITHIN_S = 15.0


def _watch() -> None:
    """A thread of its own: a process whose event loop is stuck ends all the same."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_WITHIN_S)
    os._exit(1)


if __name__ == "__main__":
    from prism.cli import main

    threading.Thread(target=_watch, name="tether", daemon=True).start()
    main()
