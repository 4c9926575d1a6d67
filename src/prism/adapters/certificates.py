"""Names of callers in their certificates, and PEM for libraries that take files only."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

_SPIFFE = "spiffe://"


@lru_cache(maxsize=1024)
def names_of(certificate: str) -> tuple[str, ...]:
    """Return the names in a certificate, as `names_in` does.

    Args:
        certificate: PEM.
    """
    with in_memory(certificate.encode()) as path:
        # What `SSLSocket.getpeercert` returns; the standard library has no other way to it.
        decode: Any = ssl._ssl._test_decode_cert  # type: ignore[attr-defined]
        return names_in(decode(path))


def names_in(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names in a certificate that the transport has verified.

    These are its URIs, of which SPIFFE ids stay as they are and others begin with `uri:`,
    its DNS names after `dns:`, and its common name after `cn:`. A name with a character that
    cannot be seen, which might look like another one, is left out.

    Args:
        content: certificate as `SSLSocket.getpeercert` returns it.
    """
    return tuple(dict.fromkeys(name for name in _names(content) if name.isprintable()))


def _names(content: Mapping[str, Any]) -> Iterator[str]:
    kinds = {"URI": "uri:", "DNS": "dns:"}
    for kind, value in content.get("subjectAltName", ()):
        if kind in kinds:
            is_spiffe = kind == "URI" and value.startswith(_SPIFFE)
            yield value if is_spiffe else kinds[kind] + value
    for relative_name in content.get("subject", ()):
        for kind, value in relative_name:
            if kind == "commonName":
                yield f"cn:{value}"


@contextmanager
def in_memory(content: bytes | None) -> Iterator[Path | None]:
    """Yield the path of a file in memory, for a library that takes files only; None: no file."""
    if content is None:
        yield None
        return
    descriptor = os.memfd_create("prism-tls", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
