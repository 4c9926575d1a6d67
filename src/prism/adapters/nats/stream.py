"""The stream under the bucket: made as we need it, or checked and brought up to it."""

from __future__ import annotations

from typing import Any

from prism.adapters.nats.failures import (
    NAME_IN_USE,
    NOT_ENABLED,
    STREAM_NOT_FOUND,
    ApiError,
    translated,
)
from prism.adapters.nats.link import Link
from prism.adapters.nats.settings import NatsSettings
from prism.ports import BackendUnavailable, InvalidArgument, Outcome, PreconditionFailed

_LEAST_VERSION = (2, 11)
_SECOND_NS = 1_000_000_000

TOMBSTONE_SECONDS = 60
"""What a deleted key and an expired one leave behind is gone after so long."""


def stream_name(bucket: str) -> str:
    return f"KV_{bucket}"


def subject_prefix(bucket: str) -> str:
    """Before the encoded key, as for every bucket of NATS."""
    return f"$KV.{bucket}."


def event_prefix(bucket: str) -> str:
    """Before the encoded key, where the server repeats each message that it stored."""
    return f"$PRISM.KV.{bucket}."


async def open_stream(link: Link, settings: NatsSettings) -> dict[str, Any]:
    """The server's description of the stream, which is then as the driver needs it.

    Raises:
        PreconditionFailed: the server is too old, or has no JetStream.
        InvalidArgument: the bucket is there, and cannot serve.
    """
    if link.server_version < _LEAST_VERSION:
        raise PreconditionFailed(
            f"the NATS server at {link.address} is of version "
            f"{'.'.join(map(str, link.server_version))}; a key's own ttl needs 2.11 or newer"
        )
    try:
        return await _described(link, settings)
    except BackendUnavailable as error:
        # Nobody listens where JetStream would.
        if error.outcome is Outcome.NOT_APPLIED and link.is_open:
            raise _without_jetstream(link) from None
        raise
    except ApiError as error:
        if error.number in NOT_ENABLED:
            raise _without_jetstream(link) from None
        raise translated(error, link.address) from None


async def _described(link: Link, settings: NatsSettings) -> dict[str, Any]:
    name = stream_name(settings.bucket)
    try:
        described = await link.api(f"STREAM.INFO.{name}")
    except ApiError as error:
        if error.number != STREAM_NOT_FOUND:
            raise
        try:
            return await link.api(f"STREAM.CREATE.{name}", _wanted(settings))
        except ApiError as made:
            # Another gateway was first.
            if made.number != NAME_IN_USE:
                raise
            described = await link.api(f"STREAM.INFO.{name}")
    _check(described["config"], settings)
    changes = _missing(described["config"], settings)
    if not changes:
        return described
    return await link.api(f"STREAM.UPDATE.{name}", described["config"] | changes)


def _wanted(settings: NatsSettings) -> dict[str, Any]:
    return {
        "name": stream_name(settings.bucket),
        "description": "A bucket of Prism; keys are encoded.",
        "subjects": [f"{subject_prefix(settings.bucket)}>"],
        "storage": settings.storage,
        "num_replicas": settings.replicas,
        # One: an older value would come back when a newer one expires.
        "max_msgs_per_subject": 1,
        "discard": "new",
        "deny_delete": True,
        **_features(settings),
    }


def _features(settings: NatsSettings) -> dict[str, Any]:
    """What an existing bucket may lack, and can be given."""
    return {
        "allow_msg_ttl": True,
        "allow_rollup_hdrs": True,
        # Any replica answers these, and may be behind the others.
        "allow_direct": settings.replicas == 1,
        "subject_delete_marker_ttl": TOMBSTONE_SECONDS * _SECOND_NS,
        "republish": {
            "src": f"{subject_prefix(settings.bucket)}>",
            "dest": f"{event_prefix(settings.bucket)}>",
        },
    }


def _missing(config: dict[str, Any], settings: NatsSettings) -> dict[str, Any]:
    return {name: value for name, value in _features(settings).items() if config.get(name) != value}


def _check(config: dict[str, Any], settings: NatsSettings) -> None:
    """Refuse a bucket that would lose keys, or is not the one that was meant."""
    wanted = _wanted(settings)
    for name, value in (("storage", settings.storage), ("num_replicas", settings.replicas)):
        if config[name] != value:
            setting = name.removeprefix("num_")
            raise _unfit(
                settings, f"has {setting} {config[name]} and the setting {setting} is {value}"
            )
    if config["max_msgs_per_subject"] != 1:
        raise _unfit(settings, f"keeps {config['max_msgs_per_subject']} values of a key, not 1")
    if config.get("max_age"):
        raise _unfit(settings, "lets every key expire by a ttl of its own")
    if config["subjects"] != wanted["subjects"] or config.get("mirror") or config.get("sources"):
        raise _unfit(settings, "takes its keys from elsewhere")
    if config["discard"] != "new":
        raise _unfit(settings, "drops keys when it is full")
    if config.get("deny_purge"):
        raise _unfit(settings, "does not let its keys be deleted")
    if config.get("republish", wanted["republish"]) != wanted["republish"]:
        raise _unfit(settings, "republishes to a subject of its own, which watches need")


def _unfit(settings: NatsSettings, why: str) -> InvalidArgument:
    return InvalidArgument(
        f"the bucket {settings.bucket!r} at {settings.addresses} {why}: "
        "change either, or name another bucket"
    )


def _without_jetstream(link: Link) -> PreconditionFailed:
    return PreconditionFailed(
        f"JetStream is not enabled at {link.address}, or not for this account: "
        "start nats-server with -js, or enable it in its configuration"
    )
