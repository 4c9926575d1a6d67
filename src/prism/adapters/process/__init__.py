"""Patterns as processes of this machine: started, listened to, ended."""

from prism.adapters.process.launcher import LaunchOptions, ProcessLauncher

__all__ = ["LaunchOptions", "ProcessLauncher"]
