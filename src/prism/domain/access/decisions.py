"""Questions to a policy, and answers that name the rule which decides."""

from __future__ import annotations

from dataclasses import dataclass

from prism.domain.access.identity import Identity
from prism.domain.access.policy import BY_PREFIX, Action, Policy, Rule
from prism.domain.validation import check_key, check_prefix
from prism.ports import InvalidArgument


@dataclass(frozen=True, slots=True)
class Question:
    """Whether an identity may do something.

    Attributes:
        key: a key; for a scan or a watch a prefix; empty for what concerns the whole server.
        pattern: name of the proxy's pattern; empty: the server has no patterns.
    """

    identity: Identity
    action: Action
    key: str = ""
    pattern: str = ""

    def __str__(self) -> str:
        text = f"{self.identity} {self.action}"
        if self.action.is_for_keys:
            text += f" {self.key!r}"
        return text + (f" of the pattern {self.pattern}" if self.pattern else "")


@dataclass(frozen=True, slots=True)
class Decision:
    """Answer to a question.

    Attributes:
        rule: rule that decides; None: no rule does.
        within: shorter list of prefixes within the one that was asked about, where it is allowed.
    """

    allowed: bool
    rule: Rule | None
    within: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.rule is None:
            text = "refused: no rule allows it"
        else:
            text = f"{'allowed' if self.allowed else 'refused'} by {self.rule.name}"
        if self.within:
            text += f"; allowed with the prefixes {', '.join(map(repr, self.within))}"
        return text


@dataclass(frozen=True, slots=True)
class Example:
    """A question, and the answer that the author of a policy expects."""

    question: Question
    allowed: bool


def ask(
    identity: Identity,
    action: Action,
    *,
    key: str | None = None,
    prefix: str | None = None,
    pattern: str = "",
) -> Question:
    """Return a question.

    Raises:
        InvalidArgument: the key or prefix is missing, not valid, or not what the action is about.
    """
    if not action.is_for_keys:
        if key is not None or prefix is not None or pattern:
            raise InvalidArgument(f"{action} concerns the whole server: leave key and prefix out")
        return Question(identity, action)
    if action in BY_PREFIX:
        if key is not None:
            raise InvalidArgument(f"{action} is about a prefix: give prefix instead of key")
        check_prefix(prefix or "")
        return Question(identity, action, prefix or "", pattern)
    if key is None or prefix is not None:
        raise InvalidArgument(f"{action} is about a key: give key, and no prefix")
    check_key(key)
    return Question(identity, action, key, pattern)


def decide(policy: Policy, question: Question) -> Decision:
    """Answer a question as a server does."""
    rights = policy.rights_of(question.identity, question.pattern)
    action, key = question.action, question.key
    if action not in BY_PREFIX:
        rule = rights.rule_for(action, key)
        return Decision(rule is not None and rule.allows, rule)
    for needed in BY_PREFIX[action]:
        rule = rights.rule_for_prefix(needed, key)
        if rule is None or not rule.allows:
            within = rights.allowed_within(BY_PREFIX[action], key)
            return Decision(False, rule, tuple(within))
    return Decision(True, rights.rule_for_prefix(action, key))
