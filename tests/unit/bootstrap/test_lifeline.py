"""The descriptor that a proxy hands over."""

from __future__ import annotations

import os

from prism.bootstrap.managed.lifeline import Lifeline


def test_processes_that_we_start_do_not_get_it() -> None:
    reading, writing = os.pipe()
    try:
        os.set_inheritable(reading, True)
        Lifeline(reading)
        assert not os.get_inheritable(reading)
    finally:
        os.close(reading)
        os.close(writing)
