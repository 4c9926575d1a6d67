"""The section `patterns` of a config file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prism.bootstrap.config_file import by_section, section_texts
from prism.bootstrap.options import Option
from prism.bootstrap.proxy.naming import DRIVER
from prism.ports import InvalidArgument

PATTERNS = "patterns"


def drivers_of(path: Path | None, tree: Mapping[str, Any]) -> dict[str, str]:
    """By name, the driver of each pattern in the tree.

    Raises:
        InvalidArgument: a pattern has none, or there is something else.
    """
    patterns = tree.get(PATTERNS) or {}
    if not isinstance(patterns, dict):
        raise InvalidArgument(f"{path}: {PATTERNS!r} holds a section for each pattern")
    found = {}
    for name, section in patterns.items():
        driver = section.get(DRIVER) if isinstance(section, dict) else None
        if not isinstance(driver, str):
            raise InvalidArgument(
                f"{path}: {PATTERNS}.{name} names no driver: add {DRIVER}, such as "
                f"'{DRIVER}: redis'"
            )
        found[str(name)] = driver
    return found


def texts_of(path: Path, tree: Mapping[str, Any], options: Iterable[Option]) -> dict[str, str]:
    """The settings in the tree as text, by option parameter.

    Raises:
        InvalidArgument: a key is none, or its value is wrong.
    """
    sections = by_section(options)
    top = {key: value for key, value in tree.items() if key != PATTERNS}
    texts = section_texts(path, "", top, sections, also=[PATTERNS])
    for name, section in (tree.get(PATTERNS) or {}).items():
        settings = {key: value for key, value in section.items() if key != DRIVER}
        texts |= section_texts(path, f"{PATTERNS}.{name}", settings, sections, also=[DRIVER])
    return texts
