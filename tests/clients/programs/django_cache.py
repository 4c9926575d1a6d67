"""Django: its own tests of `RedisCache`."""

import os
import re
import subprocess
import sys
from pathlib import Path

port, folder = sys.argv[1:]
(tests,) = Path(folder).glob("django-*/tests")
done = subprocess.run(
    [
        *(sys.executable, "runtests.py", "--settings=django_cache_settings", "--parallel=1"),
        "cache.tests.RedisCacheTests",
    ],
    cwd=tests,
    env={**os.environ, "PRISM_PORT": port, "PYTHONPATH": str(Path(__file__).parent)},
    stderr=subprocess.PIPE,
    text=True,
)
print(done.stderr, file=sys.stderr)
ran = re.search(r"Ran (\d+) tests", done.stderr)
sys.exit(done.returncode or not ran or int(ran[1]) < 50)
