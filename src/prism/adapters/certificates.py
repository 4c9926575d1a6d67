"""Identities that certificates prove, and PEM for libraries that take files only."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from prism.adapters.revocation import certificate_id
from prism.domain.access.logins import Proven

_SPIFFE = "spiffe://"


@lru_cache(maxsize=1024)
def proven_by(certificate: str) -> Proven:
    """Return what a certificate proves, as `proven_in` does.

    Args:
        certificate: PEM.
    """
    with in_memory(certificate.encode()) as path:
        # What `SSLSocket.getpeercert` returns; the standard library has no other way to it.
        decode: Any = ssl._ssl._test_decode_cert  # type: ignore[attr-defined]
        return proven_in(decode(path), ssl.PEM_cert_to_DER_cert(certificate))


def proven_in(content: Mapping[str, Any], der: bytes) -> Proven:
    """Return what a certificate proves that the transport has verified.

    Its names are its URIs, of which SPIFFE ids stay as they are and others begin with `uri:`,
    its DNS names after `dns:`, and its common name after `cn:`. A name with a character that
    cannot be seen, which might look like another one, is left out.

    Args:
        content: certificate as `SSLSocket.getpeercert` returns it.
        der: the same, encoded.
    """
    names = dict.fromkeys(name for name in _names(content) if name.isprintable())
    return Proven(tuple(names), certificate_id(der))


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
