"""Comparison of a user's subjects with those that the driver needs."""

from __future__ import annotations

import pytest

from prism.adapters.nats.permissions import Permissions, findings
from prism.adapters.nats.settings import NatsSettings

ALL_BUT_WRITES = ["$JS.API.>"]
WRITES = "publish to $KV.prism.>"


@pytest.mark.parametrize(
    ("allowed", "is_missing"),
    [
        ("$KV.prism.>", False),
        ("$KV.*.>", False),
        ("*.*.>", False),
        (">", False),
        ("$KV.prism", True),
        ("$KV.prism.*", True),
        ("$KV.prism.61.>", True),
        ("$KV.prisma.>", True),
        ("$KV.prism.> queue", True),
    ],
)
def test_needed_subject_is_missing_unless_one_rule_allows_all_of_it(
    allowed: str, is_missing: bool
) -> None:
    publish = {"allow": [*ALL_BUT_WRITES, allowed]}
    found = findings(Permissions(publish=publish), NatsSettings())  # type: ignore[typeddict-item]
    assert (WRITES in found.missing) is is_missing


@pytest.mark.parametrize(
    ("denied", "is_missing"),
    [
        ("$KV.prism.>", True),
        ("$KV.prism.61.62.=", True),
        ("$KV.*.61", True),
        (">", True),
        ("$KV.other.>", False),
        ("$KV.prism", False),
        ("$KV", False),
    ],
)
def test_needed_subject_is_missing_if_a_rule_denies_a_part_of_it(
    denied: str, is_missing: bool
) -> None:
    found = findings(Permissions(publish={"deny": [denied]}), NatsSettings())
    assert (WRITES in found.missing) is is_missing


def test_bucket_with_replicas_is_read_from_its_leader() -> None:
    publish = {"allow": ["$KV.prism.>", "$JS.API.STREAM.INFO.KV_prism", "$JS.API.CONSUMER.>"]}
    permissions = Permissions(publish=publish)  # type: ignore[typeddict-item]
    one = findings(permissions, NatsSettings()).missing
    assert one == [f"publish to $JS.API.DIRECT.GET.KV_prism{rest}" for rest in ("", ".>")]
    three = findings(permissions, NatsSettings(replicas=3)).missing
    assert three == ["publish to $JS.API.STREAM.MSG.GET.KV_prism"]
