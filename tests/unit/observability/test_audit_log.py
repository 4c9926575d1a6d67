"""The audit log: one line for each event, up to a limit, and what was left out is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prism.adapters.observability.audit_log import AuditLog
from prism.domain.access.audit import AuditEvent


def refused(key: str = "k") -> AuditEvent:
    return AuditEvent("refused", "read", "NOT_ALLOWED", "10.0.0.7:1", ("token:x",), key, "cache")


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("keys", [False, True])
def test_a_line_says_who_was_refused_what(tmp_path: Path, keys: bool) -> None:
    path = tmp_path / "audit"
    AuditLog(str(path), keys=keys).record(refused("a\n\u2028b"))
    (line,) = lines_of(path)
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "refused",
        "what": "read",
        "outcome": "NOT_ALLOWED",
        "peer": "10.0.0.7:1",
        "identity": ["token:x"],
        "pattern": "cache",
        **({"key": "a\n\u2028b"} if keys else {}),
    }


def test_events_beyond_the_limit_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    log = AuditLog(str(path), keys=False)
    for _ in range(1000):
        log.record(refused())
    log.record(AuditEvent("command", "Drain", "ok", "", ()))
    log.close()
    lines = lines_of(path)
    written = sum(line["event"] == "refused" and "what" in line for line in lines)
    omitted = sum(line.get("omitted_before", 0) for line in lines)
    assert 200 <= written < 1000
    assert written + omitted == 1000
    # Many refusals keep no command out of the log.
    assert sum(line["event"] == "command" for line in lines) == 1


def test_a_log_that_is_moved_away_goes_on_in_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    log = AuditLog(str(path), keys=False)
    log.record(refused())
    path.rename(tmp_path / "audit.1")
    log.record(refused())
    assert len(lines_of(path)) == len(lines_of(tmp_path / "audit.1")) == 1


def test_a_log_that_cannot_be_written_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = AuditLog(str(tmp_path / "absent" / "audit"), keys=False)
    with pytest.raises(OSError, match="No such file"):
        log.check()
    for _ in range(3):
        log.record(refused())
    assert caplog.text.count("the audit log cannot be written") == 1


def test_stdout_takes_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    AuditLog("-", keys=False).record(refused())
    assert json.loads(capsys.readouterr().out)["event"] == "refused"
