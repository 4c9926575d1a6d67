"""Conversion of text to settings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest

from prism.domain.settings import parse_duration, parse_settings, settings_of, to_text
from prism.ports import InvalidArgument, setting


class Storage(StrEnum):
    FILE = "file"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Settings:
    url: str = setting(help="Where")
    retries: int = setting(3, help="How often")
    ratio: float = setting(0.5, help="How much")
    tls: bool = setting(False, help="Whether")
    timeout: timedelta = setting(timedelta(seconds=5), help="How long")
    ca: Path | None = setting(None, help="Which file")
    storage: Storage = setting(Storage.FILE, help="What on")
    level: Literal["low", "high"] = setting("low", help="How")
    password: str | None = setting(None, help="What with", secret=True)


def test_every_type_is_parsed() -> None:
    texts = {
        "url": "u",
        "retries": "7",
        "ratio": "0.25",
        "tls": "Yes",
        "timeout": "1500ms",
        "ca": "/x/ca.pem",
        "storage": "memory",
        "level": "high",
        "password": "p",
    }
    assert parse_settings(Settings, texts) == Settings(
        url="u",
        retries=7,
        ratio=0.25,
        tls=True,
        timeout=timedelta(milliseconds=1500),
        ca=Path("/x/ca.pem"),
        storage=Storage.MEMORY,
        level="high",
        password="p",
    )


def test_an_omitted_setting_has_its_default() -> None:
    assert parse_settings(Settings, {"url": "u"}) == Settings(url="u")


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({}, "'url' is required: Where"),
        (
            {"url": "u", "retires": "1"},
            "unknown setting 'retires'; the valid ones are: url, retries",
        ),
        ({"url": "u", "retries": "many"}, "retries is 'many'; it must be a whole number"),
        ({"url": "u", "retries": "1_000"}, "retries is '1_000'; it must be a whole number"),
        ({"url": "u", "ratio": "nan"}, "ratio is 'nan'; it must be a number"),
        ({"url": "u", "tls": "maybe"}, "tls is 'maybe'; it must be true or false"),
        ({"url": "u", "timeout": "5"}, "timeout is '5'; it must be a duration"),
        ({"url": "u", "storage": "tape"}, "storage is 'tape'; it must be one of file, memory"),
        ({"url": "u", "level": "mid"}, "level is 'mid'; it must be one of low, high"),
    ],
)
def test_an_error_names_the_setting_and_the_valid_values(texts: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        parse_settings(Settings, texts)


def test_a_bad_secret_is_not_shown_in_the_error() -> None:
    @dataclass(frozen=True, slots=True)
    class Pin:
        pin: int = setting(0, help="The pin", secret=True)

    with pytest.raises(InvalidArgument) as refused:
        parse_settings(Pin, {"pin": "hunter2"})
    assert "hunter2" not in refused.value.message


@pytest.mark.parametrize(
    "value", [True, 7, 0.25, timedelta(seconds=90), timedelta(milliseconds=1500), Storage.MEMORY]
)
def test_the_text_of_a_value_parses_to_the_value(value: Any) -> None:
    @dataclass(frozen=True)
    class One:
        field: Any

    One.__annotations__["field"] = type(value)
    assert settings_of(One)[0].parse(to_text(value)) == value


@pytest.mark.parametrize("text", ["", "5", "-1s", "1.s", "s", "1 fortnight", "9" * 400 + "d"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)
