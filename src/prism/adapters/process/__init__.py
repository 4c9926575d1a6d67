"""Processes of patterns on this machine: started, logged and ended."""

from prism.adapters.process.launcher import LaunchOptions, ProcessLauncher

__all__ = ["LaunchOptions", "ProcessLauncher"]
