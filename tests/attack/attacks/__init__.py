"""The attacks, by what they exhaust."""

from tests.attack.attacks import (
    connections,
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
    "expensive",
    "http_port",
    "messages",
    "redis_port",
    "replies",
    "requests",
    "streams",
]
