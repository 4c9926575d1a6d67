"""Settings of Django's own tests: its cache is a server for Redis clients."""

import os

from test_sqlite import *  # noqa: F403

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": f"redis://127.0.0.1:{os.environ['PRISM_PORT']}",
    }
}
