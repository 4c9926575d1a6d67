"""The prose of the project is plain English: phrases that readers stumble over do not return.

Each entry is a kind: an old word, or an order of words that has to be read twice. What to write
instead stands beside it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

RIDDLES = {
    r"\bwhoever\b": "the caller, the reader, …",
    r"\bfares?\b": "state, result",
    r"\bhas what it takes\b": "can",
    r"\bmend(s|ed|ing)?\b": "repair, fix",
    r"\bin vain\b": "without success",
    r"\bso many a second\b": "the rate",
    r"(?<!there )\bis no (valid|identity|text|command|pattern|driver|number|key|token)\b": "is not",
    r"\b(tell|tells|telling|told) of\b": "report",
    r"\bhears? of\b": "gets, learns",
    r"\bwhat is told\b": "the report",
    r"\bthe truth\b": "the actual value",
    r"\b(are|is) (being )?told (that|when|who|which|what)\b": "learns, is informed",
    r"\bno more use\b": "does not need … any more",
    r"[.:] What (does|do|is|are|was|were) not\b(?! served)": "a noun: work that does not …",
    r"\bWho (knows|reads|has|holds|counts) [a-z]+ (knows|reads|has|holds|counts)\b": "a noun",
    r"\bthe one \w+ (next|first) whose\b": "subject first: the … whose … goes first",
    r"\bgoes first whose\b": "the … whose … goes first",
    r"\bwhile .{0,30} is young\b": "a number, or: in the first milliseconds",
    r"\bthose (that|who) do not [a-z]+ (are|is)\b": "a noun",
    r"\bwith one that is\b": "with a valid …",
    r"\bbudget more\b": "further budget",
    r"\bcannot be told\b": "has no option for",
    r"\bneither .{0,20}\bcan be told\b": "has no option for",
    r"\bRepeated are\b": "subject first",
    r"\bSo long are\b": "subject first",
    r"\bno multiple of\b": "must not multiply",
    r"[:;,] (valid|supported|installed|served|expected) (are|is)\b": "the valid ones are …",
    r"\bis there twice\b": "is given twice",
    r"\bbut those with\b": "but only those with",
    r"\bwhichever way it comes\b": "at either port",
}

PROSE = (
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("proto/**/*.proto")),
    *sorted(path for path in ROOT.glob("src/prism/**/*.py") if path.parent.name != "v1"),
)


@pytest.fixture(scope="module")
def texts() -> dict[Path, str]:
    """The prose by file, in one line: words may be on two lines of a comment."""
    return {path: re.sub(r"[\s#]+", " ", path.read_text(encoding="utf-8")) for path in PROSE}


@pytest.mark.parametrize("riddle", RIDDLES)
def test_no_text_has_this_phrase(riddle: str, texts: dict[Path, str]) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group()!r}, better: {RIDDLES[riddle]}"
        for path, text in texts.items()
        for match in re.finditer(riddle, text)
    ]
    assert not found


def test_there_is_prose_to_read(texts: dict[Path, str]) -> None:
    assert len(texts) > 300
    assert "Prism is one key-value interface" in texts[ROOT / "README.md"]
