from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prism.adapters.observability.logging import configure

Lines = Callable[[], list[str]]


@pytest.fixture
def logged() -> Iterator[Callable[..., Lines]]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    prism_level = logging.getLogger("prism").level

    def start(form: Any = "json", **options: Any) -> Lines:
        stream = io.StringIO()
        configure(form, fields={"service": "prism", "version": "1"}, stream=stream, **options)
        return lambda: stream.getvalue().splitlines()

    yield start
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("prism").setLevel(prism_level)
    logging.captureWarnings(False)


log = logging.getLogger("prism.test")


def test_record_is_one_json_object_on_one_line(logged: Callable[..., Lines]) -> None:
    lines = logged()
    log.info("two\nlines of %s", "ümläut \x00", extra={"pid": 7})
    (line,) = lines()
    event = json.loads(line)
    assert event["message"] == "two\nlines of ümläut \x00"
    assert (event["level"], event["service"], event["version"]) == ("info", "prism", "1")
    assert event["pid"] == 7
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])


@pytest.mark.parametrize("form", ["json", "text"])
def test_exception_is_logged_completely_and_masked(logged: Callable[..., Lines], form: str) -> None:
    lines = logged(form)
    try:
        raise RuntimeError("no answer from redis://u:hunter2@h")
    except RuntimeError:
        log.exception("an error with redis://u:hunter2@h", extra={"url": "redis://u:hunter2@h"})
    text = "\n".join(lines())
    assert "Traceback" in text
    assert "redis://u:***@h" in text
    assert "hunter2" not in text


def test_debug_applies_to_prism_only(logged: Callable[..., Lines]) -> None:
    lines = logged(debug=True)
    log.debug("ours")
    logging.getLogger("somebody.else").debug("theirs")
    assert [json.loads(line)["message"] for line in lines()] == ["ours"]


def test_without_debug_there_are_no_debug_records(logged: Callable[..., Lines]) -> None:
    lines = logged()
    log.debug("ours")
    assert lines() == []


def test_text_format_is_readable(logged: Callable[..., Lines]) -> None:
    lines = logged("text")
    log.info("serving", extra={"grpc_address": "127.0.0.1:1", "nothing": None})
    (line,) = lines()
    assert line.endswith("info    serving grpc_address=127.0.0.1:1")


def test_warnings_are_logged(logged: Callable[..., Lines]) -> None:
    lines = logged()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
    assert "old ways" in json.loads(lines()[0])["message"]


def test_configuring_twice_does_not_log_twice(logged: Callable[..., Lines]) -> None:
    logged()
    lines = logged()
    log.info("once")
    assert len(lines()) == 1
