"""Compares what the user may do at the server with what the driver needs, as in docs/nats.md."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import NamedTuple, NotRequired, TypedDict

from prism.adapters.nats.connection import Connection
from prism.adapters.nats.credentials import has_credentials
from prism.adapters.nats.settings import NatsSettings
from prism.ports import AccessDenied, PrismError

_log = logging.getLogger(__name__)

USER_INFO = "$SYS.REQ.USER.INFO"
"""Subject on which a server tells a user about itself."""


class SubjectRules(TypedDict, total=False):
    """Subjects that are allowed, or everything if the list is absent, except those denied."""

    allow: list[str]
    deny: list[str]


class Permissions(TypedDict, total=False):
    """Permissions of a user, as the server tells them; what is absent is not limited."""

    publish: SubjectRules
    subscribe: SubjectRules


class _UserInfo(TypedDict):
    user: str
    account: str
    permissions: NotRequired[Permissions]


class Findings(NamedTuple):
    """Difference between what a user may do and what the driver needs.

    Attributes:
        missing: subjects that are denied, at least in part.
        excess: what the user may do and should not, as the end of a sentence.
    """

    missing: Sequence[str]
    excess: Sequence[str]


async def report_permissions(connection: Connection, settings: NatsSettings) -> None:
    """Log what the user lacks, or may do beyond what the driver needs; nothing if neither.

    A server that does not tell is left out: permissions decide about no start.
    """
    try:
        answer = await connection.request(USER_INFO)
        user: _UserInfo = json.loads(answer.data)["data"]
        permissions = user.get("permissions") or Permissions()
        found = findings(permissions, settings)
    except AccessDenied:
        _log.info(
            "Prism cannot compare the permissions of its NATS user with what it needs: allow the "
            "user to publish to %s",
            USER_INFO,
        )
        return
    except (PrismError, ValueError, KeyError, TypeError) as error:
        _log.debug("%s does not tell what its user may do: %r", connection.address, error)
        return
    named = f"the user {user['user']!r}" if user.get("user") else "the user without a name"
    name = f"{named} of NATS at {connection.address}"
    if found.missing:
        _log.warning(
            "%s lacks permissions that Prism needs: %s; see Permissions in docs/nats.md",
            name,
            ", ".join(found.missing),
        )
    if found.excess:
        _log.log(
            # Without, its user is the one of everybody, as is normal on a machine for development.
            logging.WARNING if has_credentials(settings) else logging.INFO,
            "%s may do more than Prism needs: %s; see Permissions in docs/nats.md",
            name,
            ", and ".join(found.excess),
        )


def findings(permissions: Permissions, settings: NatsSettings) -> Findings:
    """Return what is missing or too much for a bucket, by the permissions of the user."""
    publish, subscribe = permissions.get("publish"), permissions.get("subscribe")
    stream = settings.stream_name
    # The driver says itself when it must create or change the bucket, and may not.
    needed = [
        f"{settings.key_prefix}>",
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.CONSUMER.CREATE.{stream}.*",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*",
        f"$JS.API.CONSUMER.DELETE.{stream}.*",
    ]
    if settings.replicas == 1:
        needed += [f"$JS.API.DIRECT.GET.{stream}", f"$JS.API.DIRECT.GET.{stream}.>"]
    else:
        needed.append(f"$JS.API.STREAM.MSG.GET.{stream}")
    missing = [f"publish to {each}" for each in needed if not _allows(publish, each)]
    missing += [
        f"subscribe to {each}"
        for each in ("_INBOX.>", f"{settings.event_prefix}>")
        if not _allows(subscribe, each)
    ]
    excess = []
    losing = [
        action.lower()
        for action in ("DELETE", "PURGE")
        if _allows(publish, f"$JS.API.STREAM.{action}.{stream}")
    ]
    if losing:
        excess.append(f"{' and '.join(losing)} the bucket {settings.bucket!r}")
    if _allows(publish, "$JS.API.STREAM.DELETE.any-other"):
        excess.append("delete other streams of the account")
    if _allows(publish, "$KV.any-other.key"):
        excess.append("write to other buckets")
    if _allows(subscribe, "any-other"):
        excess.append("subscribe to subjects of other programs")
    return Findings(missing, excess)


def _allows(rules: SubjectRules | None, subject: str) -> bool:
    """Return whether rules allow a subject, or all subjects that it stands for."""
    if rules is None:
        return True
    allowed, denied = rules.get("allow"), rules.get("deny")
    if denied and any(_meets(each, subject) for each in _subjects(denied)):
        return False
    return allowed is None or any(_covers(each, subject) for each in _subjects(allowed))


def _subjects(rules: Iterable[str]) -> Iterable[str]:
    # A rule about subscriptions may name a queue after the subject; Prism uses none.
    return (rule for rule in rules if " " not in rule)


def _covers(wide: str, narrow: str) -> bool:
    """Return whether one subject with wildcards stands for all that another one stands for."""
    for ours, theirs in zip_longest(wide.split("."), narrow.split(".")):
        if ours == ">":
            return theirs is not None
        if theirs in (None, ">") or ours not in ("*", theirs):
            return False
    return True


def _meets(one: str, other: str) -> bool:
    """Return whether two subjects with wildcards stand for a common one."""
    for ours, theirs in zip_longest(one.split("."), other.split(".")):
        if ours is None or theirs is None:
            return False
        if ">" in (ours, theirs):
            return True
        if ours != theirs and "*" not in (ours, theirs):
            return False
    return True
