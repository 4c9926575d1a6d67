"""Whether a plan can be, found out before a process is launched for it."""

from __future__ import annotations

from prism.bootstrap.configuration import secrets_of
from prism.bootstrap.proxy.naming import load_driver
from prism.domain.patterns.values import Plan
from prism.domain.redaction import Redactor
from prism.domain.settings import parse_settings
from prism.ports import InvalidArgument


class Acceptance:
    """Of plans that an operator makes while the proxy runs.

    Args:
        redactor: is given their secrets, before anybody can log them.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, plan: Plan) -> None:
        """Raises InvalidArgument for a plan that cannot be."""
        spec = load_driver(plan.name, plan.driver)
        self._redactor.register(secrets_of(spec.settings, plan.settings))
        try:
            parse_settings(spec.settings, plan.settings)
        except InvalidArgument as error:
            raise InvalidArgument(f"the pattern {plan.name!r}: {error.message}") from None
