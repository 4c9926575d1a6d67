"""Access control: the policy in force, and what each caller may do by it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from time import time

from prism.domain.access.audit import Record, event_of_caller
from prism.domain.access.caller import Caller, current_caller
from prism.domain.access.identity import ANONYMOUS, HOW_TO_SEND, Identity
from prism.domain.access.policy import Action, Policy, Rights, Rule
from prism.domain.access.quotas import Budgets
from prism.ports import AccessDenied, PrismError, Unauthenticated

_MAX_REMEMBERED = 4096
"""Rights that are kept; certificates can have any number of names."""

_MAX_NAMED = 10
"""Prefixes that a refusal names."""


class AccessControl:
    """Decides for the caller of the current request, by the policy in force.

    Args:
        record: writes refusals to the audit log; None: there is none.

    Attributes:
        generation: grows when the policy or the tokens have changed, so that streams which
            began before are checked again.
        has_quotas: whether the policy limits how much some callers do.
    """

    def __init__(self, policy: Policy, record: Record | None = None) -> None:
        self._policy = policy
        self.has_quotas = bool(policy.quotas)
        self._record = record
        self._budgets = Budgets(self._record_overuse)
        self._rights: dict[tuple[tuple[str, ...], str], Rights] = {}
        self.generation = 1

    def replace(self, policy: Policy) -> None:
        """Decide by another policy from now on; what callers have used of a quota stays used."""
        self._policy = policy
        self.has_quotas = bool(policy.quotas)
        self.credentials_changed()

    def credentials_changed(self) -> None:
        """Find out again who each caller is, before its next operation."""
        self._rights.clear()
        self.generation += 1

    def rights(self, pattern: str) -> Rights:
        """Return what the caller of the current request may do.

        Args:
            pattern: name of the proxy's pattern; empty: the server has no patterns.

        Raises:
            Unauthenticated: the caller's credentials are not valid any more.
        """
        caller = current_caller.get()
        if caller is None:
            caller = Caller(ANONYMOUS, self.generation)
        elif caller.generation != self.generation or caller.has_ended:
            caller.renew(self.generation)
        elif caller.rights is not None and caller.pattern == pattern:
            return caller.rights
        place = (caller.identity.names, pattern)
        rights = self._rights.get(place)
        if rights is None:
            if len(self._rights) >= _MAX_REMEMBERED:
                self._rights.clear()
            rights = self._rights[place] = self._rights_of(caller.identity, pattern)
        caller.rights, caller.pattern = rights, pattern
        return rights

    def _rights_of(self, identity: Identity, pattern: str) -> Rights:
        rights = self._policy.rights_of(identity, pattern)
        if (found := self._policy.quota_of(identity)) is not None:
            rights.budget = self._budgets.of(*found)
        return rights

    def connected(self) -> AbstractContextManager[None]:
        """Count a connection of the caller of the current request while the context lasts.

        Raises:
            Unauthenticated: as `rights`.
            Exhausted: on entering, if the caller has as many as its quota allows.
        """
        budget = self.rights("").budget if self.has_quotas else None
        return nullcontext() if budget is None else budget.holding("connection")

    def check_prefix(self, pattern: str, actions: tuple[Action, ...], prefix: str) -> None:
        """Return if actions are allowed on every key with this prefix.

        Raises:
            Unauthenticated, AccessDenied: one of them is not, on some key; names the prefixes
                within this one where all of them are.
        """
        rights = self.rights(pattern)
        for action in actions:
            rule = rights.rule_for_prefix(action, prefix)
            if rule is None or not rule.allows:
                break
        else:
            return
        what = f"{' and '.join(actions)} the keys with this prefix"
        if allowed := rights.allowed_within(actions, prefix):
            named = ", ".join(map(repr, allowed[:_MAX_NAMED]))
            more = f" and {len(allowed) - _MAX_NAMED} more" if len(allowed) > _MAX_NAMED else ""
            what = (
                f"{' and '.join(actions)} all keys with this prefix, but only those with one of "
                f"these prefixes: {named}{more}"
            )
        raise self.refusal(rights, what, actions[0], prefix)

    def may(self, action: Action) -> bool:
        """Return whether the caller may do something that concerns the server as a whole."""
        try:
            rule = self.rights("").rule_for(action, "")
        except Unauthenticated:
            return False
        return rule is not None and rule.allows

    def may_use(self, pattern: str) -> bool:
        """Return whether the caller may do anything with the keys of a pattern."""
        try:
            return not self.rights(pattern).is_empty
        except Unauthenticated:
            return False

    def check_server(self, action: Action) -> None:
        """Return if the caller may do something that concerns the server as a whole.

        Raises:
            Unauthenticated, AccessDenied: it may not.
        """
        # The name of a pattern does not matter: such a rule has none.
        rights = self.rights("")
        rule = rights.rule_for(action, "")
        if rule is None or not rule.allows:
            raise self.refusal(rights, _SERVER_ACTIONS[action], action)

    def check_pattern(self, pattern: str) -> None:
        """Return if the caller may do anything with the keys of a pattern.

        Raises:
            Unauthenticated, AccessDenied: it may do nothing, whether the pattern exists or not.
        """
        rights = self.rights(pattern)
        if rights.is_empty:
            what = f"use the pattern {pattern!r}" if pattern else "use this server"
            raise self.refusal(rights, what, None)

    def _record_overuse(self, what: str) -> None:
        if self._record is not None:
            self._record(event_of_caller("refused", what, "QUOTA_EXCEEDED"))

    def refusal(
        self, rights: Rights, what: str, action: Action | None, key: str | None = None
    ) -> PrismError:
        """Record that something is refused, and return the error.

        Args:
            what: end of the sentence, from the verb on; nothing in it depends on what exists.
        """
        identity = rights.identity
        error: PrismError
        if identity.is_anonymous:
            error = Unauthenticated(
                f"the policy does not let callers without credentials {what}: send a token "
                f"({HOW_TO_SEND}), or present a client certificate"
            )
        else:
            error = AccessDenied(f"the policy does not let {identity} {what}", reason="NOT_ALLOWED")
        if self._record is not None:
            asked = "connect" if action is None else action
            self._record(
                event_of_caller(
                    "refused", str(asked), error.reason, key=key, pattern=rights.pattern
                )
            )
        return error


class KeyAccess:
    """Access to the keys of one pattern, checked for each operation.

    Args:
        pattern: name of the proxy's pattern; empty: the server has no patterns.
        before_refusal: called before a refusal is raised; may raise another error.
    """

    __slots__ = ("_before_refusal", "_control", "_pattern")

    def __init__(
        self, control: AccessControl, pattern: str, before_refusal: Callable[[], None]
    ) -> None:
        self._control = control
        self._pattern = pattern
        self._before_refusal = before_refusal

    def rule_for(self, action: str, key: str) -> Rule:
        """Return the rule that allows the caller of the current request an action on a key.

        Every operation comes here, so what `AccessControl.rights` and `Decisions.rule_for` do is
        done again without their calls.

        Args:
            action: text of an `Action`; to read it from the member takes as long as a call.

        Raises:
            Unauthenticated, AccessDenied: no rule does.
        """
        control = self._control
        caller = current_caller.get()
        if (
            caller is not None
            and (caller.ends_at is None or caller.ends_at > time())
            and caller.generation == control.generation
            and caller.pattern == self._pattern
            and caller.rights is not None
        ):
            rights = caller.rights
        else:
            try:
                rights = control.rights(self._pattern)
            except Unauthenticated:
                self._before_refusal()
                raise
        decisions = rights.decisions[action]
        rules = decisions.rules
        for length in decisions.lengths:
            if (rule := rules.get(key[:length])) is not None:
                if rule.allows:
                    return rule
                break
        self._before_refusal()
        # Without the key: refusals are logged, and no log line has keys.
        raise control.refusal(rights, _KEY_ACTIONS[action], Action(action), key)


_SERVER_ACTIONS = {
    Action.ADMIN: "administer this server",
    Action.OBSERVE: "see the metrics and the status page",
}

_KEY_ACTIONS = {
    Action.READ.value: "read this key",
    Action.WRITE.value: "write this key",
    Action.DELETE.value: "delete this key",
}
