"""How a pattern introduces itself."""

from __future__ import annotations

import os
from importlib.metadata import version

from prism.adapters.wire.keyvalue_messages import capabilities_of
from prism.adapters.wire.pattern_messages import PROTOCOL_VERSION
from prism.ports import DriverSpec, Profile, VersionKind
from prism.v1 import pattern_pb2 as pb


def registration(spec: DriverSpec, data_address: str, metrics_address: str) -> pb.Registration:
    """Who we are; the state is left to the moment of registering.

    Args:
        metrics_address: empty: nowhere.
    """
    # Only what it can do is read from this; how it counts versions is not known yet.
    at_best = Profile(spec.name, spec.version, VersionKind.DIGEST, spec.capabilities)
    return pb.Registration(
        protocol_version=PROTOCOL_VERSION,
        driver=spec.name,
        driver_version=spec.version,
        prism_version=version("prism"),
        process_id=os.getpid(),
        capabilities=capabilities_of(at_best).capabilities,
        data_address=data_address,
        metrics_address=metrics_address,
    )
