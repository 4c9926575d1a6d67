"""What libraries write to descriptor 2 is logged, at a bounded rate."""

from __future__ import annotations

import json
import subprocess
import sys

_SCRIPT = """
import logging, os, sys
from prism.adapters.observability.logging import configure
from prism.adapters.observability.stderr_capture import StderrCapture

capture = StderrCapture()
redact = lambda text: text.replace("hunter2", "***")
configure("json", fields={}, redact=redact, stream=capture.start())
logging.getLogger("prism").info("from Python")
os.write(2, b"native: password hunter2\\n\\xff bytes\\n")
for index in range(1000):
    os.write(2, b"flood %d\\n" % index)
os.write(2, b"y" * 100_000)
capture.stop()
os.write(2, b"raw again\\n")
"""


def test_native_lines_become_log_records() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=30, check=True
    )
    *lines, last = ended.stderr.splitlines()
    assert last == "raw again"
    records = [json.loads(line) for line in lines]
    messages = [record["message"] for record in records]
    assert "from Python" in messages
    assert "native: password ***" in messages
    assert "\\xff bytes" in messages
    assert all({"time", "level", "logger"} <= record.keys() for record in records)
    assert 10 < sum(message.startswith("flood") for message in messages) < 100
    assert len(ended.stderr) < 100_000
