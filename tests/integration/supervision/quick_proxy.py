"""`prism proxy` with short heartbeats, after which a pattern is lost in LOST_AFTER_S seconds.

A stream breaks after two fifths of this time.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta

from dependency_injector import providers

from prism.adapters.grpc.servicers.pattern_control import (
    ControlPlaneOptions,
    PatternControlPlane,
)
from prism.bootstrap.proxy.container import ProxyContainer
from prism.cli import main

_LOST_AFTER = timedelta(seconds=float(os.environ["LOST_AFTER_S"]))

ProxyContainer.control_plane.override(
    providers.Singleton(
        PatternControlPlane,
        ControlPlaneOptions(heartbeat_interval=_LOST_AFTER / 5, lost_after=_LOST_AFTER),
    )
)
sys.argv[1:1] = ["proxy"]
main()
