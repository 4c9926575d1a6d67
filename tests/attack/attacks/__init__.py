"""The attacks, by what they exhaust."""

from tests.attack.attacks import connections, http_port, messages, replies, requests, streams

__all__ = ["connections", "http_port", "messages", "replies", "requests", "streams"]
