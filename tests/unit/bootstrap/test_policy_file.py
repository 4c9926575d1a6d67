"""Policy files: what is read, and what is refused with the place named."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from prism.bootstrap.policy_file import load_policy, parse_identity, read_policy
from prism.domain.access.decisions import ask, decide
from prism.domain.access.policy import Action
from prism.domain.access.tokens import digest_of, new_token, parse_tokens
from prism.ports import InvalidArgument

POLICY = """
[groups]
operators = ["token:alice", "cn:bob"]

[[rules]]
name = "operators"
who = "group:operators"
role = "administrator"

[[rules]]
who = "token:*"
role = "own prefix"

[[rules]]
who = ["spiffe://prod/*", "anonymous"]
may = ["read", "scan"]
prefixes = ["settings/"]
patterns = "cache"

[[rules]]
who = "token:short"
may = "write"
max_ttl = "1h"
default_ttl = "5m"

[[examples]]
as = "token:orders"
may = "write"
key = "orders/1"

[[examples]]
as = "anonymous"
may_not = "scan"
prefix = "settings/"
"""


def write(folder: Path, text: str, name: str = "policy.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("who", "action", "key", "pattern", "allowed"),
    [
        ("token:alice", "admin", None, "", True),
        ("cn:bob", "delete", "x", "", True),
        ("cn:carol", "admin", None, "", False),
        ("token:orders", "delete", "orders/1", "", True),
        ("token:orders", "read", "stock/1", "", False),
        ("spiffe://prod/ns/x", "read", "settings/1", "cache", True),
        ("spiffe://prod/ns/x", "read", "settings/1", "sessions", False),
        ("spiffe://test/ns/x", "read", "settings/1", "cache", False),
        ("anonymous", "read", "settings/1", "cache", True),
        ("anonymous", "write", "settings/1", "cache", False),
    ],
)
def test_rules_are_read(
    tmp_path: Path, who: str, action: str, key: str | None, pattern: str, allowed: bool
) -> None:
    policy = load_policy(write(tmp_path, POLICY))
    question = ask(parse_identity([who]), Action(action), key=key, pattern=pattern)
    assert decide(policy, question).allowed is allowed


def test_ttls_are_read(tmp_path: Path) -> None:
    last = load_policy(write(tmp_path, POLICY)).rules[-1]
    assert (last.max_ttl, last.default_ttl) == (timedelta(hours=1), timedelta(minutes=5))


def test_the_first_quota_that_applies_is_the_one(tmp_path: Path) -> None:
    text = """
[groups]
batch = ["token:nightly", "token:weekly"]

[[quotas]]
name = "batch"
who = "group:batch"
shared = true
operations_per_second = 1000

[[quotas]]
who = "token:*"
bytes_per_second = 1_000_000
watches = 10
"""
    policy = load_policy(write(tmp_path, text))
    found = {
        name: policy.quota_of(parse_identity([name]))
        for name in ("token:nightly", "token:orders", "cn:nightly")
    }
    assert found["cn:nightly"] is None
    texts = {name: (each[0], str(each[1])) for name, each in found.items() if each is not None}
    assert texts == {
        "token:nightly": (
            "shared:quota 1 (batch)",
            "quota 1 (batch): 1,000 operations a second, together",
        ),
        "token:orders": ("token:orders", "quota 2: 1,000,000 bytes a second, 10 watches"),
    }


def test_yaml_says_the_same(tmp_path: Path) -> None:
    text = """
groups:
  operators: [token:alice]
rules:
  - who: group:operators
    role: administrator
"""
    policy = load_policy(write(tmp_path, text, "policy.yaml"))
    assert decide(policy, ask(parse_identity(["token:alice"]), Action.ADMIN)).allowed


def test_an_empty_policy_allows_nothing(tmp_path: Path) -> None:
    policy = load_policy(write(tmp_path, ""))
    decision = decide(policy, ask(parse_identity(["token:x"]), Action.READ, key="k"))
    assert str(decision) == "refused: no rule allows it"


def with_rule(text: str) -> str:
    return f'[[rules]]\nwho = "*"\nmay = "read"\n[[rules]]\n{text}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rule = 1", "there is no key 'rule'; the valid ones are: rules, groups, quotas, examples"),
        ("rules = 1", "rules must be a list of tables"),
        (with_rule('may = "read"'), "rule 2: who is missing"),
        (
            with_rule('who = "orders"\nmay = "read"'),
            "rule 2: who has 'orders'; the valid ones are token:NAME",
        ),
        (with_rule('who = "group:x"\nmay = "read"'), "rule 2: there is no group 'group:x'"),
        (with_rule('who = "*"'), "rule 2: give exactly one of role, may and may_not"),
        (
            with_rule('who = "*"\nmay = "wite"'),
            "rule 2: there is no action 'wite'; the valid ones are: write",
        ),
        (with_rule('who = "*"\nmay = [1]'), "rule 2: may must have texts"),
        (
            with_rule('who = "*"\nrole = "read-only"'),
            "there is no role 'read-only'; the valid ones are: read only",
        ),
        (with_rule('who = "*"\nrole = "own prefix"\nprefixes = "x"'), "role and prefixes exclude"),
        (
            with_rule('who = "*"\nmay = ["read", "admin"]\nprefixes = "x"'),
            "rule 2: admin concerns the whole server",
        ),
        (
            with_rule('who = "*"\nmay = "read"\nmax_ttl = "1h"'),
            "rule 2: max_ttl and default_ttl belong",
        ),
        (
            with_rule('who = "*"\nmay = "write"\nmax_ttl = "1 hour"'),
            "rule 2: max_ttl: '1 hour' is not",
        ),
        (
            with_rule('who = "*"\nmay = "write"\nmax_ttl = "1s"\ndefault_ttl = "2s"'),
            "rule 2: default_ttl is longer",
        ),
        (
            with_rule('who = "*"\nmay = "read"\nprefixes = "x/{name}"'),
            "rule 2: {name} in the prefix 'x/{name}' must be followed by /",
        ),
        (with_rule('who = "*"\nmay = "read"\nquota = 1'), "rule 2: there is no key 'quota'"),
        ('[[examples]]\nas = "token:x"\nmay = "read"', "example 1: read is about a key: give key"),
        (
            '[[examples]]\nas = "token:x"\nmay = "scan"\nkey = "k"',
            "example 1: scan is about a prefix: give prefix instead of key",
        ),
        ('[[examples]]\nas = "x"\nmay = "admin"', "example 1: 'x' is not an identity"),
        ('[groups]\na = "b"', "group a: who has 'b'"),
        (
            '[[quotas]]\nwho = "*"',
            "quota 1: it limits nothing: give at least one of operations_per",
        ),
        ("[[quotas]]\nwatches = 1", "quota 1: who is missing"),
        (
            '[[quotas]]\nwho = "*"\nwatches = 0',
            "quota 1: watches is 0; it must be a whole number above zero",
        ),
        ('[[quotas]]\nwho = "*"\nkeys = 1', "quota 1: there is no key 'keys'"),
        ('[[quotas]]\nwho = "*"\nwatches = 1\nshared = 1', "quota 1: shared must be true or false"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InvalidArgument) as raised:
        read_policy(path)
    assert raised.value.message.startswith(f"{path}: ")
    assert message in raised.value.message


def test_a_policy_whose_example_does_not_hold_is_not_loaded(tmp_path: Path) -> None:
    path = write(tmp_path, POLICY.replace('key = "orders/1"', 'key = "stock/1"'))
    with pytest.raises(InvalidArgument) as raised:
        load_policy(path)
    assert raised.value.message == (
        f"{path}: token:orders write 'stock/1' should be allowed, and is refused: no rule allows it"
    )


def test_a_token_is_found_by_its_hash_alone() -> None:
    first, line = new_token("orders")
    second, other_line = new_token("orders")
    tokens = parse_tokens(f"# two, while one replaces the other\n{line}\n\n{other_line}  # new\n")
    assert first not in line
    for each in (first, second):
        found = tokens.find(digest_of(each))
        assert found is not None
        assert found.names == ("token:orders",)
    assert tokens.find(digest_of(first + "x")) is None
    assert len(tokens) == 2


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-x", "x" * 65, "ä"])
def test_names_of_tokens_are_plain(name: str) -> None:
    with pytest.raises(InvalidArgument, match="is not valid"):
        new_token(name)


def test_a_line_that_holds_a_token_is_not_quoted() -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse_tokens("orders prism_secret")
    assert raised.value.message.startswith("line 1 is not 'NAME sha256:HASH'")
    assert "secret" not in raised.value.message
