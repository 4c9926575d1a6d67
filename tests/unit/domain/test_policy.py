"""Policies: an independent model of the rules agrees with the implementation.

The model decides about single keys, one after the other, and about a prefix by all keys that
begin with it in a small universe. `PRISM_POLICY_EXAMPLES=5000` makes it 100,000 requests.
"""

from __future__ import annotations

import os
from datetime import timedelta
from fnmatch import fnmatchcase
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prism.domain.access.caller import Caller, current_caller
from prism.domain.access.control import AccessControl, KeyAccess
from prism.domain.access.decisions import ask, decide
from prism.domain.access.identity import ANONYMOUS, Identity
from prism.domain.access.policy import (
    Action,
    Policy,
    Rule,
    limited_ttl,
    matches,
    may_last,
)
from prism.ports import AccessDenied, PrismError, Unauthenticated

EXAMPLES = int(os.environ.get("PRISM_POLICY_EXAMPLES", "150"))
REQUESTS = 20

# Prefixes of rules have up to three of these characters; a key that ends with a z meets no
# rule whose prefix is longer than what precedes the z. The last two are those of {name}.
UNIVERSE = [
    "".join(letters) + end for length in range(5) for letters in product("ab/", repeat=length)
    for end in ("", "z")
] + ["anonymous/", "anonymous/z"]  # fmt: skip

NAMES = ("token:a", "token:b", "dns:a", "spiffe://a/b", "cn:a/b", "anonymous")
KEY_ACTIONS = [action for action in Action if action.is_for_keys]

rules = st.builds(
    Rule,
    name=st.just(""),
    who=st.lists(
        st.sampled_from((*NAMES, "*", "token:*", "*a", "dns:*", "spiffe://*/b")),
        min_size=1,
        max_size=2,
    ).map(tuple),
    actions=st.frozensets(st.sampled_from(KEY_ACTIONS), min_size=1, max_size=3),
    allows=st.sampled_from((True, True, False)),
    prefixes=st.lists(
        st.one_of(st.text("ab/", max_size=3), st.just("{name}/")), min_size=1, max_size=3
    ).map(tuple),
    patterns=st.sampled_from((("*",), ("*",), ("cache",), ("c*", "other"))),
)  # fmt: skip
identities = st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True).map(
    lambda names: Identity(tuple(names))
)
requests = st.lists(
    st.tuples(
        identities,
        st.sampled_from(KEY_ACTIONS),
        st.text("ab/", max_size=4),
        st.sampled_from(("", "cache", "other")),
    ),
    min_size=REQUESTS,
    max_size=REQUESTS,
)


def allows_key(policy: list[Rule], identity: Identity, action: Action, key: str, at: str) -> bool:
    for rule in policy:
        if action not in rule.actions or not any(fnmatchcase(at, each) for each in rule.patterns):
            continue
        for name in identity.names:
            if not any(fnmatchcase(name, each) for each in rule.who):
                continue
            bare = name if name.startswith("spiffe:") else name.split(":", 1)[-1]
            for prefix in rule.prefixes:
                if "{name}" in prefix and "/" in bare:
                    continue
                if key[: len(full := prefix.replace("{name}", bare))] == full:
                    return rule.allows
    return False


def allows_prefix(
    policy: list[Rule], identity: Identity, action: Action, begin: str, at: str
) -> bool:
    needed = [Action.WATCH, Action.READ] if action is Action.WATCH else [action]
    return all(
        allows_key(policy, identity, each, key, at)
        for each in needed
        for key in UNIVERSE
        if key.startswith(begin)
    )


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(rules, max_size=8), requests)
def test_the_rules_decide_as_the_model_does(
    policy: list[Rule], asked: list[tuple[Identity, Action, str, str]]
) -> None:
    control = AccessControl(Policy(tuple(policy)))
    for identity, action, text, pattern in asked:
        by_prefix = action in (Action.SCAN, Action.WATCH)
        if not by_prefix and not text:
            continue
        question = (
            ask(identity, action, prefix=text, pattern=pattern)
            if by_prefix
            else ask(identity, action, key=text, pattern=pattern)
        )
        model = (allows_prefix if by_prefix else allows_key)(
            policy, identity, action, text, pattern
        )
        decision = decide(Policy(tuple(policy)), question)
        assert decision.allowed is model, question
        assert is_let_through(control, identity, action, text, pattern) is model, question
        for within in decision.within:
            assert allows_prefix(policy, identity, action, within, pattern), (question, within)


def is_let_through(
    control: AccessControl, identity: Identity, action: Action, text: str, pattern: str
) -> bool:
    """Whether a request passes as it does behind a door."""
    current_caller.set(Caller(identity, control.generation))
    try:
        if action is Action.WATCH:
            control.check_prefix(pattern, (Action.WATCH, Action.READ), text)
        elif action is Action.SCAN:
            control.check_prefix(pattern, (action,), text)
        else:
            KeyAccess(control, pattern, lambda: None).rule_for(action, text)
    except PrismError as error:
        expected = Unauthenticated if identity == ANONYMOUS else AccessDenied
        assert isinstance(error, expected)  # noqa: PT017  (the model decides which)
        return False
    return True


def rule(**fields: object) -> Rule:
    return Rule(**{"name": "", "who": ("*",), "actions": frozenset(Action), **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("token:*", "token:orders", True),
        ("token:*", "dns:token:orders", False),
        ("a.c", "abc", False),
        ("a[b]", "ab", False),
        ("*", "", True),
        ("spiffe://*/sa/x", "spiffe://prod/ns/sa/x", True),
    ],
)
def test_only_a_star_in_a_pattern_is_special(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


def test_a_refused_scan_names_the_prefixes_that_are_allowed() -> None:
    control = AccessControl(
        Policy(
            (
                rule(allows=False, prefixes=("a/secret/",)),
                rule(prefixes=("a/", "b/")),
            )
        )
    )
    current_caller.set(Caller(Identity(("token:x",)), control.generation))
    with pytest.raises(AccessDenied, match=r"but only those with one of these prefixes: 'b/'$"):
        control.check_prefix("", (Action.SCAN,), "")
    with pytest.raises(AccessDenied, match=r"scan the keys with this prefix$"):
        control.check_prefix("", (Action.SCAN,), "a/")
    control.check_prefix("", (Action.SCAN,), "a/other")


@pytest.mark.parametrize(
    ("given", "used"), [(None, 60), (5, 5), (90, None)], ids=["without", "shorter", "longer"]
)
def test_a_rule_gives_a_write_its_ttl(given: int | None, used: int | None) -> None:
    limits = rule(max_ttl=timedelta(seconds=80), default_ttl=timedelta(seconds=60))
    ttl = None if given is None else timedelta(seconds=given)
    if used is None:
        with pytest.raises(AccessDenied, match=r"has a ttl of 90 s; .* at most 80 s") as raised:
            limited_ttl(limits, ttl)
        assert raised.value.reason == "TTL_NOT_ALLOWED"
    else:
        assert limited_ttl(limits, ttl) == timedelta(seconds=used)


def test_where_ttls_are_limited_no_key_may_last() -> None:
    with pytest.raises(AccessDenied):
        limited_ttl(rule(max_ttl=timedelta(seconds=1)), None)
    with pytest.raises(AccessDenied):
        may_last(rule(max_ttl=timedelta(seconds=1)))
    may_last(rule(default_ttl=timedelta(seconds=1)))


def test_refusals_of_patterns_do_not_tell_which_exist() -> None:
    control = AccessControl(Policy((rule(patterns=("cache",)),)))
    current_caller.set(Caller(Identity(("token:x",)), control.generation))
    control.check_pattern("cache")
    for name in ("sessions", "nonsense"):
        with pytest.raises(AccessDenied, match=f"does not let token:x use the pattern '{name}'"):
            control.check_pattern(name)


def test_a_caller_is_identified_again_when_credentials_have_changed() -> None:
    control = AccessControl(Policy((rule(who=("token:x",)),)))
    found = [Identity(("token:x",)), Identity(("token:y",))]
    caller = Caller(found[0], control.generation, lambda: found[-1])
    current_caller.set(caller)
    assert not control.rights("").is_empty
    control.credentials_changed()
    assert control.rights("").is_empty
    assert caller.identity == found[-1]
