"""Servers that tests of any kind talk to, each started by the first that asks for it."""

pytest_plugins = ["tests.servers.nats_fixtures", "tests.servers.redis_fixtures"]
