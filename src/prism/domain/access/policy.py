"""Policies: rules in order, of which the first that applies decides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from prism.domain.access.identity import Identity, bare_name
from prism.domain.access.quotas import Budget, Quota
from prism.ports import AccessDenied

NAME = "{name}"
"""Place in a prefix for the caller's name without its kind."""


class Action(StrEnum):
    """What a rule allows or forbids."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    SCAN = "scan"
    WATCH = "watch"
    OBSERVE = "observe"
    ADMIN = "admin"

    @property
    def is_for_keys(self) -> bool:
        """Whether it concerns keys, and not the server as a whole."""
        return self not in (Action.OBSERVE, Action.ADMIN)


BY_PREFIX: Mapping[Action, tuple[Action, ...]] = {
    Action.SCAN: (Action.SCAN,),
    Action.WATCH: (Action.WATCH, Action.READ),
}
"""Actions on all keys with one prefix, and what each needs there: a watch shows values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of a policy.

    Attributes:
        name: name for explanations.
        who: patterns of identities, in which `*` stands for any text.
        actions: what the rule is about.
        allows: whether it allows or forbids that.
        prefixes: beginnings of the keys that it is about; `{name}` in one stands for the name
            of the caller.
        patterns: patterns of the proxy's patterns that it is about.
        max_ttl: longest ttl of a write that it allows; None: any, and none.
        default_ttl: ttl of a write without one; None: it has none.
    """

    name: str
    who: tuple[str, ...]
    actions: frozenset[Action]
    allows: bool = True
    prefixes: tuple[str, ...] = ("",)
    patterns: tuple[str, ...] = ("*",)
    max_ttl: timedelta | None = None
    default_ttl: timedelta | None = None

    def prefixes_for(self, identity: Identity, pattern: str) -> tuple[str, ...]:
        """Return the prefixes that the rule is about for this caller; empty: it does not apply."""
        if not _matches_any(self.patterns, pattern):
            return ()
        names = [name for name in identity.names if _matches_any(self.who, name)]
        return tuple(dict.fromkeys(self._prefixes_of(names)))

    def _prefixes_of(self, names: Sequence[str]) -> Iterator[str]:
        for prefix in self.prefixes if names else ():
            if NAME not in prefix:
                yield prefix
                continue
            for name in map(bare_name, names):
                # The prefix of the name `a` would contain that of the name `a/b`.
                if name and "/" not in name:
                    yield prefix.replace(NAME, name)


@dataclass(frozen=True, slots=True)
class Span:
    """What one rule says to one identity about one action.

    Attributes:
        prefixes: beginnings of keys that it is about.
    """

    rule: Rule
    prefixes: tuple[str, ...]


class Decisions:
    """The rule that decides about each key, for one identity and one action.

    Prefixes that a rule before has decided about are left out. Of the rest, the longest one that
    a key begins with is that of the first rule which is about the key. So a key is looked up once
    for each length of a prefix, however many rules there are.

    Attributes:
        rules: by prefix.
        lengths: lengths of the prefixes, the longest first.
    """

    __slots__ = ("lengths", "rules")

    def __init__(self, spans: Iterable[Span]) -> None:
        self.rules: dict[str, Rule] = {}
        for span in spans:
            decided = tuple(self.rules)
            for prefix in span.prefixes:
                if not prefix.startswith(decided):
                    self.rules[prefix] = span.rule
        self.lengths = sorted({len(prefix) for prefix in self.rules}, reverse=True)

    def rule_for(self, key: str) -> Rule | None:
        """Return the rule that decides about a key; None: no rule does."""
        for length in self.lengths:
            if (rule := self.rules.get(key[:length])) is not None:
                return rule
        return None


class Rights:
    """What one identity may do with the keys of one pattern.

    Attributes:
        spans: what the rules say, in their order, by the text of an action.
        decisions: the rules that decide, by the text of an action.
        is_empty: whether nothing is allowed.
        budget: how much it may do, which the access control sets; None: as much as it likes.
    """

    __slots__ = ("budget", "decisions", "identity", "is_empty", "pattern", "spans")

    def __init__(
        self, identity: Identity, pattern: str, spans: dict[Action, tuple[Span, ...]]
    ) -> None:
        self.identity = identity
        self.pattern = pattern
        self.budget: Budget | None = None
        # Not by the action itself: to hash a member of an enum takes longer than all the rest.
        self.spans = {action._value_: each for action, each in spans.items()}
        self.decisions = {name: Decisions(each) for name, each in self.spans.items()}
        self.is_empty = not any(
            span.rule.allows
            for action, each in spans.items()
            if action.is_for_keys
            for span in each
        )

    def rule_for(self, action: Action, key: str) -> Rule | None:
        """Return the rule that decides about a key; None: no rule does, and it is forbidden."""
        return self.decisions[action._value_].rule_for(key)

    def rule_for_prefix(self, action: Action, prefix: str) -> Rule | None:
        """Return the rule that decides about every key with this prefix together.

        That is the first rule that forbids some of them, if there is one: what is allowed is
        allowed for all of them. None: no rule allows them all.
        """
        allowed: list[str] = []
        for span in self.spans[action._value_]:
            if prefix.startswith(span.prefixes):
                return span.rule
            within = [each for each in span.prefixes if each.startswith(prefix)]
            if span.rule.allows:
                allowed += within
            elif not all(each.startswith(tuple(allowed)) for each in within):
                return span.rule
        return None

    def allowed_within(self, actions: Sequence[Action], prefix: str) -> list[str]:
        """Return the longest known prefixes within this one whose keys are allowed, sorted."""
        known = {
            each
            for action in actions
            for span in self.spans[action._value_]
            for each in span.prefixes
            if span.rule.allows and each.startswith(prefix)
        }
        allowed: list[str] = []
        for each in sorted(known):
            rules = [self.rule_for_prefix(action, each) for action in actions]
            covered = allowed and each.startswith(tuple(allowed))
            if not covered and all(rule is not None and rule.allows for rule in rules):
                allowed.append(each)
        return allowed


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules in order: the first that applies decides, and what none allows is forbidden.

    Attributes:
        quotas: in order too; a caller to whom none applies may do as much as it likes.
    """

    rules: tuple[Rule, ...] = field(default=())
    quotas: tuple[Quota, ...] = field(default=())

    def rights_of(self, identity: Identity, pattern: str) -> Rights:
        """Return what an identity may do.

        Args:
            pattern: name of the proxy's pattern; empty: the server has no patterns.
        """
        spans: dict[Action, list[Span]] = {action: [] for action in Action}
        for rule in self.rules:
            prefixes = rule.prefixes_for(identity, pattern)
            if prefixes:
                for action in rule.actions:
                    spans[action].append(Span(rule, prefixes))
        return Rights(identity, pattern, {action: tuple(each) for action, each in spans.items()})

    def quota_of(self, identity: Identity) -> tuple[str, Quota] | None:
        """Return the quota of an identity, and who owns what is used of it; None: it has none.

        The owner is the first name that the quota matches, so another certificate with the same
        name brings no further budget.
        """
        for quota in self.quotas:
            for name in identity.names:
                if _matches_any(quota.who, name):
                    return (f"shared:{quota.name}" if quota.shared else name), quota
        return None


def limited_ttl(rule: Rule, ttl: timedelta | None) -> timedelta | None:
    """Return the ttl with which a write is made that the rule allows.

    Raises:
        AccessDenied: the ttl is longer than the rule allows, or missing.
    """
    if ttl is None:
        ttl = rule.default_ttl
    longest = rule.max_ttl
    if longest is not None and (ttl is None or ttl > longest):
        given = "no ttl" if ttl is None else f"a ttl of {ttl.total_seconds():,.10g} s"
        raise _too_long(f"the write has {given}", longest)
    return ttl


def may_last(rule: Rule) -> None:
    """Return if the rule allows a key that never expires.

    Raises:
        AccessDenied: it does not.
    """
    if rule.max_ttl is not None:
        raise _too_long("the operation would leave a key without a ttl", rule.max_ttl)


def _too_long(what: str, longest: timedelta) -> AccessDenied:
    return AccessDenied(
        f"{what}; the policy allows this key at most {longest.total_seconds():,.10g} s",
        reason="TTL_NOT_ALLOWED",
    )


def _matches_any(patterns: Iterable[str], text: str) -> bool:
    return any(matches(pattern, text) for pattern in patterns)


def matches(pattern: str, text: str) -> bool:
    """Return whether a text matches a pattern, in which `*` stands for any text."""
    if "*" not in pattern:
        return pattern == text
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None
