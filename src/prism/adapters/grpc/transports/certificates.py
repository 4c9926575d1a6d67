"""Names of callers in their certificates."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from prism.adapters.grpc.transports.tls import in_memory

_SPIFFE = "spiffe://"


@lru_cache(maxsize=1024)
def names_of(certificate: str) -> tuple[str, ...]:
    """Return the names in a certificate that the transport has verified.

    These are its URIs, of which SPIFFE ids stay as they are and others begin with `uri:`,
    its DNS names after `dns:`, and its common name after `cn:`. A name with a character that
    cannot be seen, which might look like another one, is left out.

    Args:
        certificate: PEM.
    """
    return tuple(dict.fromkeys(name for name in _names(certificate) if name.isprintable()))


def _names(certificate: str) -> Iterator[str]:
    with in_memory(certificate.encode()) as path:
        # What `SSLSocket.getpeercert` returns; the standard library has no other way to it.
        decode: Any = ssl._ssl._test_decode_cert  # type: ignore[attr-defined]
        content = decode(path)
    kinds = {"URI": "uri:", "DNS": "dns:"}
    for kind, value in content.get("subjectAltName", ()):
        if kind in kinds:
            is_spiffe = kind == "URI" and value.startswith(_SPIFFE)
            yield value if is_spiffe else kinds[kind] + value
    for relative_name in content.get("subject", ()):
        for kind, value in relative_name:
            if kind == "commonName":
                yield f"cn:{value}"
