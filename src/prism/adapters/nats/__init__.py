"""Driver for a key-value bucket of NATS JetStream; docs/nats.md says what it promises."""

from prism.adapters.nats.driver import CAPABILITIES, NAME, Nats
from prism.adapters.nats.settings import NatsSettings
from prism.ports import DriverSpec
from prism.version import VERSION

DRIVER = DriverSpec(
    name=NAME,
    version=VERSION,
    summary="A key-value bucket of NATS JetStream, server 2.11.2 or newer.",
    settings=NatsSettings,
    factory=Nats,
    capabilities=CAPABILITIES,
)

__all__ = ["DRIVER", "Nats", "NatsSettings"]
