from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from prism.adapters.observability.logging import configure
from prism.domain.redaction import Redactor

Lines = Callable[[], list[str]]

log = logging.getLogger("prism.test")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def logged() -> Iterator[Callable[..., Lines]]:
    root, ours = logging.getLogger(), logging.getLogger("prism")
    before = root.handlers[:], root.level, ours.level

    def start(form: Any = "json", *, stream: io.StringIO | None = None, **options: Any) -> Lines:
        stream = stream or io.StringIO()
        configure(form, fields={"service": "prism"}, stream=stream, **options)
        return lambda: stream.getvalue().splitlines()

    yield start
    root.handlers[:], root.level = before[0], before[1]
    ours.setLevel(before[2])
    logging.captureWarnings(False)


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_secret_is_redacted_everywhere(logged: Callable[..., Lines], form: str) -> None:
    lines = logged(form, redact=Redactor(["hunter2!"]))
    try:
        raise ValueError("the password hunter2! is wrong")
    except ValueError:
        log.exception(
            "message %s", "hunter2!", extra={"list": [{"item": "hunter2!"}], "key": "hunter2!"}
        )
    text = "\n".join(lines())
    assert "Traceback" in text
    assert "hunter2!" not in text


def test_a_secret_shorter_than_four_characters_is_not_redacted(
    logged: Callable[..., Lines],
) -> None:
    lines = logged(redact=Redactor(["a"]))
    log.info("a banana")
    assert json.loads(lines()[0])["message"] == "a banana"


def test_a_line_has_the_ids_of_its_trace(logged: Callable[..., Lines]) -> None:
    lines = logged()
    with TracerProvider().get_tracer("test").start_as_current_span("request") as span:
        log.info("within")
    log.info("without")
    within, without = map(json.loads, lines())
    context = span.get_span_context()
    assert within["trace_id"] == f"{context.trace_id:032x}"
    assert within["span_id"] == f"{context.span_id:016x}"
    assert "trace_id" not in without


def test_text_is_coloured_only_on_a_terminal(
    logged: Callable[..., Lines], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = logged("text", stream=Terminal())
    log.warning("mind the gap")
    assert "\x1b[33m" in coloured()[0]
    monkeypatch.setenv("NO_COLOR", "1")
    plain = logged("text", stream=Terminal())
    log.warning("mind the gap")
    assert "\x1b" not in plain()[0]
    monkeypatch.delenv("NO_COLOR")
    redirected = logged("text")
    log.warning("mind the gap")
    assert "\x1b" not in redirected()[0]


def test_json_is_never_coloured(logged: Callable[..., Lines]) -> None:
    lines = logged("json", stream=Terminal())
    log.error("red")
    assert json.loads(lines()[0])["message"] == "red"


def test_control_characters_in_a_message_are_escaped(
    logged: Callable[..., Lines],
) -> None:
    lines = logged("text")
    log.info("one\n2026 error forged \x1b[2J")
    (line,) = lines()
    assert r"one\n2026 error forged \x1b[2J" in line


def test_a_stack_trace_in_text_is_indented_and_escaped(
    logged: Callable[..., Lines],
) -> None:
    lines = logged("text")
    try:
        raise ValueError("no such key: one\n2026 error forged \x1b[2J\rtwo")
    except ValueError:
        log.exception("a defect")
    message, *trace = lines()
    assert message.endswith("a defect")
    assert all(line.startswith("    ") for line in trace)
    assert trace[-2:] == [
        "    ValueError: no such key: one",
        r"    2026 error forged \x1b[2J\rtwo",
    ]


def test_records_of_libraries_are_limited_and_those_of_prism_are_not(
    logged: Callable[..., Lines],
) -> None:
    lines = logged()
    library = logging.getLogger("asyncio")
    for _ in range(1000):
        library.error("Future exception was never retrieved")
        log.info("served")
    names = [json.loads(line)["logger"] for line in lines()]
    assert names.count("prism.test") == 1000
    assert 50 <= names.count("asyncio") <= 200
