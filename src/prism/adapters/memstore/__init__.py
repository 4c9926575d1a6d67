"""Embedded store: keys in the memory of this process, lost when it ends."""

from prism.adapters.memstore.driver import Memstore
from prism.adapters.memstore.settings import CAPABILITIES, NAME, MemstoreSettings
from prism.ports import DriverSpec
from prism.version import VERSION

DRIVER = DriverSpec(
    name=NAME,
    version=VERSION,
    summary="In the memory of this process; nothing survives it.",
    settings=MemstoreSettings,
    factory=Memstore,
    capabilities=CAPABILITIES,
)

__all__ = ["DRIVER", "Memstore", "MemstoreSettings"]
