"""Checks the specification of a pattern before a process is launched for it."""

from __future__ import annotations

from dataclasses import replace

from prism.bootstrap.proxy.configuration import load_driver, with_absolute_paths
from prism.domain.patterns.values import PatternSpec
from prism.domain.redaction import Redactor
from prism.domain.settings import parse_settings
from prism.ports import InvalidArgument


class PatternValidator:
    """Checks specifications that operators give while the proxy runs.

    Args:
        redactor: gets the secrets of each specification, before anything can log them.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, spec: PatternSpec) -> PatternSpec:
        """Return the specification, with absolute paths.

        Raises:
            InvalidArgument: the driver is not installed, or a setting is wrong.
        """
        driver = load_driver(spec.name, spec.driver)
        self._redactor.register_settings(driver.settings, spec.settings)
        try:
            parse_settings(driver.settings, spec.settings)
        except InvalidArgument as error:
            raise InvalidArgument(f"the pattern {spec.name!r}: {error.message}") from None
        return replace(spec, settings=with_absolute_paths(driver.settings, spec.settings))
