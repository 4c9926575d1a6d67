from __future__ import annotations

import pytest

from prism.ports.text import counted


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 keys"), (1, "1 key"), (2, "2 keys"), (1234, "1,234 keys")]
)
def test_a_number_has_its_noun_in_singular_or_plural(number: int, text: str) -> None:
    assert counted(number, "key") == text


def test_a_plural_can_be_given() -> None:
    assert [counted(number, "watch", "watches") for number in (1, 2)] == ["1 watch", "2 watches"]
