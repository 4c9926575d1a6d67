from __future__ import annotations

import random
from collections import Counter
from itertools import islice

import pytest

from prism.cli.bench.workload import parse_mix


def test_a_mix_reads_as_it_was_written() -> None:
    assert str(parse_mix(" get=80, set = 20 ")) == "get=80,set=20"


def test_what_has_no_weight_is_left_out() -> None:
    assert parse_mix("get=1,set=0").weights == {"get": 1}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "'' is not an operation; valid are: get, set, delete, incr"),
        ("scan=1", "'scan' is not an operation"),
        ("get", "'get' is not OPERATION=WEIGHT"),
        ("get=x", "'get=x' is not OPERATION=WEIGHT"),
        ("get=-1", "'get=-1' is not OPERATION=WEIGHT"),
        ("get=1,get=2", "get is given twice"),
        ("get=0", "no operation has a weight above 0"),
    ],
)
def test_a_mix_that_makes_no_sense_is_told_in_a_sentence(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{told}"):
        parse_mix(text)


def test_operations_come_as_often_as_their_weights_say() -> None:
    drawn = Counter(islice(parse_mix("get=8,set=2").draw(random.Random(1)), 10_000))
    assert drawn["get"] + drawn["set"] == 10_000
    assert 7_800 < drawn["get"] < 8_200
