"""`prism proxy` with short heartbeats: 0.1 s of silence break a stream, 0.25 s lose a pattern."""

from __future__ import annotations

import sys
from datetime import timedelta

from dependency_injector import providers

from prism.adapters.grpc.servicers.pattern_control import (
    ControlPlaneOptions,
    PatternControlPlane,
)
from prism.bootstrap.proxy.container import ProxyContainer
from prism.cli import main

ProxyContainer.control_plane.override(
    providers.Singleton(
        PatternControlPlane,
        ControlPlaneOptions(
            heartbeat_interval=timedelta(milliseconds=50), lost_after=timedelta(milliseconds=250)
        ),
    )
)
sys.argv[1:1] = ["proxy"]
main()
