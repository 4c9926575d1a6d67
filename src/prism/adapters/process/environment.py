"""What a process may know of the environment of ours: nothing that could be a secret of ours."""

from __future__ import annotations

from collections.abc import Mapping

_NAMES = frozenset({"HOME", "LANG", "PATH", "TMPDIR", "TZ"})
_PREFIXES = ("LC_", "OTEL_", "PYTHON", "SSL_CERT_")


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """What finds programs and Python's modules, certificates, and where traces go."""
    return {
        name: value
        for name, value in environment.items()
        if name in _NAMES or name.startswith(_PREFIXES)
    }
