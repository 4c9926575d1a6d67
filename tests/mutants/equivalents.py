"""Mutants that behave like the original, each with the reason: `equivalents.toml`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeAlias

from tests.mutants.areas import ROOT
from tests.mutants.mutations import Mutant

Key: TypeAlias = tuple[str, str, str, str]

FILE = Path(__file__).with_name("equivalents.toml")


def read_equivalents() -> dict[Key, str]:
    """Return the reason for each mutant that is listed, by its key."""
    listed = tomllib.loads(FILE.read_text())["equivalent"]
    return {
        (each["file"], each["within"], each["before"], each["after"]): each["reason"]
        for each in listed
    }


def key_of(file: Path, mutant: Mutant) -> Key:
    """Return what names a mutant in the list: it stays the same when lines move."""
    return str(file.relative_to(ROOT)), mutant.within, mutant.before, mutant.after
