"""Driver for Redis 7 or newer: a single server, Sentinel, or a Cluster, on redis-py.

Values are plain Redis strings with the expiry of Redis, so other Redis clients can read
and write them; a version is a digest of the value, compared on the server.
"""

from prism.adapters.redis.driver import Redis
from prism.adapters.redis.profile import CAPABILITIES, NAME
from prism.adapters.redis.settings import RedisSettings
from prism.ports import DriverSpec
from prism.version import VERSION

DRIVER = DriverSpec(
    name=NAME,
    version=VERSION,
    summary="Redis 7 or newer: a single server, Sentinel, or a Cluster.",
    settings=RedisSettings,
    factory=Redis,
    capabilities=CAPABILITIES,
)

__all__ = ["DRIVER", "Redis", "RedisSettings"]
