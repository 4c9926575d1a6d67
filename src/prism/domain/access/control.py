"""Access control: the policy in force, and what each caller may do by it."""

from __future__ import annotations

from prism.domain.access.identity import ANONYMOUS, Caller, current_caller
from prism.domain.access.policy import Action, Policy, Rights, Rule
from prism.ports import AccessDenied, PrismError, Unauthenticated

_MAX_REMEMBERED = 4096
"""Rights that are kept; certificates can have any number of names."""

_MAX_NAMED = 10
"""Prefixes that a refusal names."""

_DENIED = "NOT_ALLOWED"


class AccessControl:
    """Decides for the caller of the current request, by the policy in force.

    Attributes:
        generation: grows when the policy or the tokens have changed, so that streams which
            began before are checked again.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._rights: dict[tuple[tuple[str, ...], str], Rights] = {}
        self.generation = 1

    def replace(self, policy: Policy) -> None:
        """Decide by another policy from now on."""
        self._policy = policy
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
        elif caller.generation != self.generation:
            caller.renew(self.generation)
        elif caller.rights is not None and caller.pattern == pattern:
            return caller.rights
        place = (caller.identity.names, pattern)
        rights = self._rights.get(place)
        if rights is None:
            if len(self._rights) >= _MAX_REMEMBERED:
                self._rights.clear()
            rights = self._rights[place] = self._policy.rights_of(caller.identity, pattern)
        caller.rights, caller.pattern = rights, pattern
        return rights

    def check_server(self, action: Action) -> None:
        """Return if the caller may do something that concerns the server as a whole.

        Raises:
            Unauthenticated, AccessDenied: it may not.
        """
        # The name of a pattern does not matter: such a rule has none.
        rights = self.rights("")
        rule = rights.rule_for(action, "")
        if rule is None or not rule.allows:
            raise refusal(rights, _SERVER_ACTIONS[action])

    def check_pattern(self, pattern: str) -> None:
        """Return if the caller may do anything with the keys of a pattern.

        Raises:
            Unauthenticated, AccessDenied: it may do nothing, whether the pattern exists or not.
        """
        rights = self.rights(pattern)
        if rights.is_empty:
            raise refusal(rights, f"use the pattern {pattern!r}" if pattern else "use this server")


_SERVER_ACTIONS = {
    Action.ADMIN: "administer this server",
    Action.OBSERVE: "see the metrics and the status page",
}

_KEY_ACTIONS = {
    Action.READ: "read this key",
    Action.WRITE: "write this key",
    Action.DELETE: "delete this key",
}


def permitted(rights: Rights, action: Action, key: str) -> Rule:
    """Return the rule that allows an action on a key.

    Raises:
        Unauthenticated, AccessDenied: none does.
    """
    # As `Rights.rule_for`, without a call more: every operation comes here.
    for span in rights.spans[action._value_]:
        if key.startswith(span.prefixes):
            if span.rule.allows:
                return span.rule
            break
    # Without the key: refusals are logged, and no log line has keys.
    raise refusal(rights, _KEY_ACTIONS[action])


def check_prefix(rights: Rights, actions: tuple[Action, ...], prefix: str) -> None:
    """Return if actions are allowed on every key with this prefix.

    Raises:
        Unauthenticated, AccessDenied: one of them is not, on some key; names the prefixes
            within this one where all of them are.
    """
    for action in actions:
        rule = rights.rule_for_prefix(action, prefix)
        if rule is None or not rule.allows:
            break
    else:
        return
    what = " and ".join(actions)
    allowed = rights.allowed_within(actions, prefix)
    if not allowed:
        raise refusal(rights, f"{what} the keys with this prefix")
    named = ", ".join(map(repr, allowed[:_MAX_NAMED]))
    more = f" and {len(allowed) - _MAX_NAMED} more" if len(allowed) > _MAX_NAMED else ""
    raise refusal(
        rights,
        f"{what} all keys with this prefix, but those with one of these prefixes: {named}{more}",
    )


def refusal(rights: Rights, what: str) -> PrismError:
    """Return the error of a caller who may not do something.

    Args:
        what: end of the sentence, from the verb on; nothing in it depends on what exists.
    """
    identity = rights.identity
    if identity.is_anonymous:
        return Unauthenticated(
            f"the policy does not let callers without credentials {what}: send a token as "
            "'authorization: Bearer …', or present a client certificate"
        )
    return AccessDenied(f"the policy does not let {identity} {what}", reason=_DENIED)
