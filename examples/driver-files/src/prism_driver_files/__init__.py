"""Prism driver for a folder: each key is a file that any program can read."""

from prism_driver_files.driver import DRIVER, FilesDriver, FilesSettings

__all__ = ["DRIVER", "FilesDriver", "FilesSettings"]
