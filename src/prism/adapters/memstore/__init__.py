"""The embedded default: everything in the memory of this process, gone with it.

Its clock is the monotonic one, so that a step of the wall clock expires nothing.
"""

from prism.adapters.memstore.driver import Memstore
from prism.adapters.memstore.profile import CAPABILITIES, NAME, VERSION
from prism.adapters.memstore.settings import MemstoreSettings
from prism.ports import DriverSpec

DRIVER = DriverSpec(
    name=NAME,
    version=VERSION,
    summary="In the memory of this process; nothing survives it.",
    settings=MemstoreSettings,
    factory=Memstore,
    capabilities=CAPABILITIES,
)

__all__ = ["DRIVER", "Memstore", "MemstoreSettings"]
