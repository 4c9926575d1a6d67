"""Prism driver for SQLite: durable, in one file that several processes can share."""

from prism_driver_sqlite.driver import DRIVER, SqliteDriver, SqliteSettings

__all__ = ["DRIVER", "SqliteDriver", "SqliteSettings"]
