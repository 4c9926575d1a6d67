"""SQLite driver: keys in one file that survives the process, in the standard library."""

from prism.adapters.sqlite.driver import Sqlite
from prism.adapters.sqlite.settings import CAPABILITIES, NAME, SqliteSettings
from prism.ports import DriverSpec
from prism.version import VERSION

DRIVER = DriverSpec(
    name=NAME,
    version=VERSION,
    summary="In one file that survives the process; the processes of a machine can share it.",
    settings=SqliteSettings,
    factory=Sqlite,
    capabilities=CAPABILITIES,
)

__all__ = ["DRIVER", "Sqlite", "SqliteSettings"]
