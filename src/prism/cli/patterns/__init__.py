"""`prism patterns`: an operator's view of what is behind a proxy, and commands to it."""

from prism.cli.patterns.commands import app

__all__ = ["app"]
