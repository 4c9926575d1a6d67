"""Launches a pattern as a proxy does, and then waits.

The arguments are the address of the proxy, the pattern's socket, and its token.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

address, socket, token = sys.argv[1:]
reading, writing = os.pipe()
subprocess.Popen(
    (
        *(sys.executable, "-m", "prism.bootstrap", "--proxy-address", address),
        *("--proxy-fd", str(reading), "--grpc-socket", socket),
    ),
    pass_fds=(reading,),
    start_new_session=True,
)
os.close(reading)
os.write(writing, f"{token}\n".encode())
signal.pause()
