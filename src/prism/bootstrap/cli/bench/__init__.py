"""`prism bench`: load on a running server, and how it took it."""

from prism.bootstrap.cli.bench.command import bench

__all__ = ["bench"]
