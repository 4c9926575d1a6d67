"""The attacks, by what they exhaust."""

from tests.attack.attacks import (
    connections,
    credentials,
    expensive,
    http_port,
    messages,
    redis_port,
    replies,
    requests,
    streams,
)

__all__ = [
    "connections",
    "credentials",
    "expensive",
    "http_port",
    "messages",
    "redis_port",
    "replies",
    "requests",
    "streams",
]
