"""The JetStream stream of a bucket: created, or checked and given the features that it lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from prism.adapters.nats.connection import Connection
from prism.adapters.nats.errors import NAME_IN_USE, STREAM_NOT_FOUND
from prism.adapters.nats.settings import NatsSettings
from prism.ports import BackendUnavailable, InvalidArgument, Outcome, PreconditionFailed

_MIN_SERVER_VERSION = (2, 11, 2)
"""Older ones have no ttl for each key, or were not tested."""


class StreamState(TypedDict):
    messages: int
    bytes: int
    last_seq: int
    num_subjects: NotRequired[int]


class Replica(TypedDict):
    name: str
    current: NotRequired[bool]


class Cluster(TypedDict):
    leader: NotRequired[str]
    replicas: NotRequired[list[Replica] | None]


class StreamInfo(TypedDict):
    """Answer of JetStream about a stream, in part; `ts` is the server's clock."""

    config: dict[str, object]
    created: str
    ts: str
    state: StreamState
    cluster: NotRequired[Cluster | None]


async def open_stream(connection: Connection, settings: NatsSettings) -> StreamInfo:
    """Create the stream, or check it and switch on what the driver needs.

    Raises:
        PreconditionFailed: the server is too old, or has no JetStream.
        InvalidArgument: the bucket exists with properties that the driver cannot work with.
    """
    if connection.server_version < _MIN_SERVER_VERSION:
        raise PreconditionFailed(
            f"the NATS server at {connection.address} has version "
            f"{'.'.join(map(str, connection.server_version))}; "
            f"Prism needs {'.'.join(map(str, _MIN_SERVER_VERSION))} or newer"
        )
    name = settings.stream_name
    info: StreamInfo | None
    try:
        info = await connection.api(f"STREAM.INFO.{name}", absent=STREAM_NOT_FOUND)
    except BackendUnavailable as error:
        if error.outcome is Outcome.NOT_APPLIED and connection.is_open:
            raise PreconditionFailed(
                f"JetStream is not enabled at {connection.address}, or not for this account: "
                "start nats-server with -js, or enable it in its configuration"
            ) from None
        raise
    if info is None:
        new = _new_config(settings)
        info = await connection.api(f"STREAM.CREATE.{name}", new, absent=NAME_IN_USE)
        if info is not None:
            return info
        # Another gateway created it in between.
        info = await connection.api(f"STREAM.INFO.{name}")
    config = info["config"]
    _check(config, settings)
    features = _features(settings)
    changes = {name: value for name, value in features.items() if config.get(name, 0) != value}
    if changes:
        info = await connection.api(f"STREAM.UPDATE.{name}", config | changes)
    return info


def _new_config(settings: NatsSettings) -> dict[str, object]:
    return {
        "name": settings.stream_name,
        "description": "A bucket of Prism; keys are encoded.",
        "subjects": [f"{settings.key_prefix}>"],
        "storage": settings.storage,
        "num_replicas": settings.replicas,
        # With more, an older value would come back when a newer one expires.
        "max_msgs_per_subject": 1,
        "discard": "new",
        "deny_delete": True,
        **_features(settings),
    }


def _features(settings: NatsSettings) -> dict[str, object]:
    """Return the properties that an existing bucket is given when it has others."""
    return {
        "allow_msg_ttl": True,
        "allow_rollup_hdrs": True,
        # Any replica answers a direct get, and may be behind the others.
        "allow_direct": settings.replicas == 1,
        # The server decides that a key needs a marker, and writes it a moment later: it overwrites
        # a value that was acknowledged in between.
        "subject_delete_marker_ttl": 0,
        "republish": {
            "src": f"{settings.key_prefix}>",
            "dest": f"{settings.event_prefix}>",
        },
    }


def _check(config: Mapping[str, object], settings: NatsSettings) -> None:
    """Refuse a bucket that would lose keys, or that differs from the settings."""
    wanted = _new_config(settings)
    for name in ("storage", "num_replicas"):
        if config[name] != wanted[name]:
            setting = name.removeprefix("num_")
            raise _unfit(
                settings,
                f"has {setting} {config[name]} and the setting {setting} is {wanted[name]}",
            )
    if config["max_msgs_per_subject"] != 1:
        raise _unfit(settings, f"keeps {config['max_msgs_per_subject']} values of a key, not 1")
    if config.get("max_age"):
        raise _unfit(settings, "has a ttl of its own, by which every key expires")
    if config["subjects"] != wanted["subjects"] or config.get("mirror") or config.get("sources"):
        raise _unfit(settings, "copies its keys from another stream")
    if config["discard"] != "new":
        raise _unfit(settings, "drops keys when it is full")
    if config.get("deny_purge"):
        raise _unfit(settings, "does not allow deleting its keys")
    if config.get("republish", wanted["republish"]) != wanted["republish"]:
        raise _unfit(settings, "republishes to another subject than the one that watches need")


def _unfit(settings: NatsSettings, problem: str) -> InvalidArgument:
    return InvalidArgument(
        f"the bucket {settings.bucket!r} at {settings.addresses} {problem}: "
        "change either, or name another bucket"
    )
