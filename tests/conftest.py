"""Redis and NATS servers for tests of any kind, each started by the first test that needs it."""

pytest_plugins = ["tests.servers.nats_fixtures", "tests.servers.redis_fixtures"]
