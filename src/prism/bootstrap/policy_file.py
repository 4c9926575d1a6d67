"""Policy files: rules, quotas, groups and examples, in TOML or YAML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from prism.bootstrap import config_file
from prism.domain.access.decisions import Decision, Example, ask, decide
from prism.domain.access.identity import Identity
from prism.domain.access.policy import NAME, Action, Policy, Rule
from prism.domain.access.quotas import Quota
from prism.domain.settings import parse_duration
from prism.domain.validation import check_prefix, check_ttl
from prism.ports import InvalidArgument
from prism.ports.text import nearest_first

Table = Mapping[str, object]

_TOP = ("groups", "rules", "quotas", "examples")
_RULE = (
    *("name", "who", "role", "may", "may_not"),
    *("prefixes", "patterns", "max_ttl", "default_ttl"),
)
_LIMITS = ("operations_per_second", "bytes_per_second", "watches", "connections")
_QUOTA = ("name", "who", "shared", *_LIMITS)
_EXAMPLE = ("as", "may", "may_not", "key", "prefix", "pattern")

_KINDS = ("token:", "jwt:", "jwt-group:", "spiffe://", "uri:", "dns:", "cn:", "uid:")
_IDENTITIES = (
    "token:NAME, jwt:NAME, jwt-group:NAME, spiffe://…, uri:…, dns:NAME, cn:NAME, uid:NUMBER and "
    "anonymous"
)

_KEY_ACTIONS = frozenset(action for action in Action if action.is_for_keys)

ROLES: Mapping[str, tuple[frozenset[Action], tuple[str, ...]]] = {
    "read only": (frozenset({Action.READ, Action.SCAN, Action.WATCH}), ("",)),
    "own prefix": (_KEY_ACTIONS, (f"{NAME}/",)),
    "administrator": (frozenset(Action), ("",)),
}
"""Ready-made rules: actions and prefixes by the name of the role."""


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """Content of a policy file."""

    policy: Policy
    examples: Sequence[Example]

    def broken_examples(self) -> Iterator[tuple[Example, Decision]]:
        """Yield each example that the rules answer otherwise, with their answer."""
        for example in self.examples:
            decision = decide(self.policy, example.question)
            if decision.allowed is not example.allowed:
                yield example, decision


def read_policy(path: Path) -> PolicyFile:
    """Read a policy file.

    Raises:
        InvalidArgument: it cannot be read, or is not valid; names the file and the place.
    """
    tree = config_file.read(path, "policy file")
    with _placed(str(path)):
        _check_names(tree, _TOP)
        groups = _groups(tree.get("groups"))
        rules = []
        for number, table in enumerate(_tables(tree, "rules"), 1):
            with _placed(f"rule {number}"):
                rules.append(_rule(number, table, groups))
        examples = []
        for number, table in enumerate(_tables(tree, "examples"), 1):
            with _placed(f"example {number}"):
                examples.append(_example(table))
        quotas = []
        for number, table in enumerate(_tables(tree, "quotas"), 1):
            with _placed(f"quota {number}"):
                quotas.append(_quota(number, table, groups))
        return PolicyFile(Policy(tuple(rules), tuple(quotas)), examples)


def load_policy(path: Path) -> Policy:
    """Return the policy of a file whose examples hold.

    Raises:
        InvalidArgument: as `read_policy`; or an example does not hold.
    """
    content = read_policy(path)
    for example, decision in content.broken_examples():
        raise InvalidArgument(f"{path}: {text_of_broken(example, decision)}")
    return content.policy


def text_of_broken(example: Example, decision: Decision) -> str:
    """Return what is wrong with an example that does not hold."""
    expected = "allowed" if example.allowed else "refused"
    return f"{example.question} should be {expected}, and is {decision}"


def parse_identity(texts: Sequence[str]) -> Identity:
    """Return the identity with these names.

    Raises:
        InvalidArgument: a text is not the name of an identity, or there is none.
    """
    for text in texts:
        if text != "anonymous" and not text.startswith(_KINDS):
            raise InvalidArgument(f"{text!r} is not an identity; the valid ones are {_IDENTITIES}")
    if not texts:
        raise InvalidArgument(f"an identity is missing; the valid ones are {_IDENTITIES}")
    return Identity(tuple(texts))


def parse_action(text: str) -> Action:
    """Return the action of that name; raises InvalidArgument."""
    try:
        return Action(text)
    except ValueError:
        raise InvalidArgument(_no_such("action", text, list(Action))) from None


def _rule(number: int, table: Table, groups: Mapping[str, Sequence[str]]) -> Rule:
    _check_names(table, _RULE)
    actions, allows, prefixes = _what(table)
    if "prefixes" in table:
        if "role" in table:
            raise InvalidArgument("role and prefixes exclude each other: give may instead of role")
        prefixes = _texts(table, "prefixes")
    patterns = _texts(table, "patterns") if "patterns" in table else ("*",)
    whole = sorted(action for action in actions if not action.is_for_keys)
    if whole and (prefixes != ("",) or patterns != ("*",)):
        raise InvalidArgument(
            f"{' and '.join(whole)} concerns the whole server: give it in a rule without prefixes "
            "and patterns"
        )
    for prefix in prefixes:
        check_prefix(prefix)
        if NAME in prefix.replace(f"{NAME}/", ""):
            raise InvalidArgument(
                f"{NAME} in the prefix {prefix!r} must be followed by /: otherwise the keys of "
                "a name would contain those of longer names"
            )
    max_ttl, default_ttl = (_duration(table, name) for name in ("max_ttl", "default_ttl"))
    if (max_ttl or default_ttl) and not (allows and Action.WRITE in actions):
        raise InvalidArgument("max_ttl and default_ttl belong to a rule that allows to write")
    if max_ttl and default_ttl and default_ttl > max_ttl:
        raise InvalidArgument("default_ttl is longer than max_ttl")
    return Rule(
        name=_name(f"rule {number}", table),
        who=tuple(_who(_texts(table, "who"), groups)),
        actions=actions,
        allows=allows,
        prefixes=prefixes,
        patterns=patterns,
        max_ttl=max_ttl,
        default_ttl=default_ttl,
    )


def _quota(number: int, table: Table, groups: Mapping[str, Sequence[str]]) -> Quota:
    _check_names(table, _QUOTA)
    limits = {name: _limit(table, name) for name in _LIMITS if name in table}
    if not limits:
        raise InvalidArgument(f"it limits nothing: give at least one of {', '.join(_LIMITS)}")
    shared = table.get("shared", False)
    if not isinstance(shared, bool):
        raise InvalidArgument("shared must be true or false")
    return Quota(
        name=_name(f"quota {number}", table),
        who=tuple(_who(_texts(table, "who"), groups)),
        shared=shared,
        **limits,
    )


def _limit(table: Table, name: str) -> int:
    value = table[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidArgument(
            f"{name} is {value!r}; it must be a whole number above zero; to allow nothing, use a "
            "rule with may_not"
        )
    return value


def _name(place: str, table: Table) -> str:
    name = table.get("name", "")
    if not isinstance(name, str):
        raise InvalidArgument("name must be text: put it in quotes")
    return f"{place} ({name})" if name else place


def _what(table: Table) -> tuple[frozenset[Action], bool, tuple[str, ...]]:
    """Return the actions of a rule, whether it allows them, and its prefixes by default."""
    given = [name for name in ("role", "may", "may_not") if name in table]
    if len(given) != 1:
        raise InvalidArgument("give exactly one of role, may and may_not")
    if given != ["role"]:
        actions = frozenset(map(parse_action, _texts(table, given[0])))
        return actions, given == ["may"], ("",)
    role = table["role"]
    if not isinstance(role, str) or role not in ROLES:
        raise InvalidArgument(_no_such("role", str(role), list(ROLES)))
    actions, prefixes = ROLES[role]
    return actions, True, prefixes


def _example(table: Table) -> Example:
    _check_names(table, _EXAMPLE)
    if ("may" in table) is ("may_not" in table):
        raise InvalidArgument("give exactly one of may and may_not")
    allowed = "may" in table
    question = ask(
        parse_identity(_texts(table, "as")),
        parse_action(_text(table, "may" if allowed else "may_not")),
        key=_text(table, "key") if "key" in table else None,
        prefix=_text(table, "prefix") if "prefix" in table else None,
        pattern=_text(table, "pattern") if "pattern" in table else "",
    )
    return Example(question, allowed)


def _groups(tree: object) -> Mapping[str, Sequence[str]]:
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise InvalidArgument("groups must be a mapping of names to lists of identities")
    groups = {}
    for name in tree:
        with _placed(f"group {name}"):
            members = _texts(tree, name)
            for member in members:
                _check_identity(member)
            groups[f"group:{name}"] = members
    return groups


def _who(given: Iterable[str], groups: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for each in given:
        if not each.startswith("group:"):
            _check_identity(each)
            yield each
        elif each in groups:
            yield from groups[each]
        else:
            raise InvalidArgument(_no_such("group", each, list(groups)))


def _check_identity(pattern: str) -> None:
    """Raise InvalidArgument for a pattern of identities that can match none."""
    if pattern not in ("*", "anonymous") and not pattern.startswith(_KINDS):
        raise InvalidArgument(
            f"who has {pattern!r}; the valid ones are {_IDENTITIES}, * in any of them, "
            "and group:NAME"
        )


def _tables(tree: Table, name: str) -> Iterator[Table]:
    content = tree.get(name) or []
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        raise InvalidArgument(f"{name} must be a list of tables")
    yield from content


def _texts(table: Table, name: str) -> tuple[str, ...]:
    """Return a list of texts that is not empty; one text stands for a list of one."""
    content = table.get(name)
    texts = [content] if isinstance(content, str) else content
    if not isinstance(texts, list) or not texts:
        raise InvalidArgument(f"{name} is missing: it must be a text, or a list of texts")
    if not all(isinstance(text, str) for text in texts):
        raise InvalidArgument(f"{name} must have texts: put each in quotes")
    return tuple(texts)


def _text(table: Table, name: str) -> str:
    content = table.get(name)
    if not isinstance(content, str):
        raise InvalidArgument(f"{name} must be text: put it in quotes")
    return content


def _duration(table: Table, name: str) -> timedelta | None:
    if name not in table:
        return None
    try:
        duration = parse_duration(_text(table, name))
    except ValueError as error:
        raise InvalidArgument(f"{name}: {error}") from None
    check_ttl(duration)
    return duration


def _check_names(table: Table, valid: Sequence[str]) -> None:
    for name in table:
        if name not in valid:
            raise InvalidArgument(_no_such("key", str(name), valid))


def _no_such(what: str, text: str, valid: Sequence[str]) -> str:
    return (
        f"there is no {what} {text!r}; the valid ones are: {nearest_first(text, valid) or 'none'}"
    )


@contextmanager
def _placed(place: str) -> Iterator[None]:
    """Put the place before the text of an InvalidArgument."""
    try:
        yield
    except InvalidArgument as error:
        raise InvalidArgument(f"{place}: {error.message}") from None
