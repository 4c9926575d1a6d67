"""The clients that `make clients` runs, and those that the documentation lists, are the same."""

from __future__ import annotations

import re

from tests.clients.__main__ import BACKENDS, DOCUMENT
from tests.clients.clients import CLIENTS, PROGRAMS, Client


def test_every_program_is_run() -> None:
    run = {each.program for each in CLIENTS if isinstance(each, Client)}
    assert {each.name for each in PROGRAMS.glob("*.*")} - run == {"django_cache_settings.py"}


def test_the_table_lists_what_is_run() -> None:
    block = DOCUMENT.read_text().partition("<!-- clients -->")[2].partition("<!-- /clients -->")[0]
    header, _, *rows = (re.split(r" *\| *", line)[1:-1] for line in block.strip().splitlines())
    assert tuple(header[3:]) == BACKENDS
    assert [(name, uses) for name, _, uses, *_ in rows] == [each.describes for each in CLIENTS]
