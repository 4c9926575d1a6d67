"""Public keys of an issuer, as a JSON Web Key Set.

https://www.rfc-editor.org/rfc/rfc7517
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jwt

from prism.ports import InvalidArgument

# Symmetric algorithms are left out: who can check such a token can make one.
_ALGORITHMS_OF_KEYS: Mapping[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}

_LEAST_RSA_BITS = 2048


class KeySet:
    """Keys that tokens may be signed with.

    Args:
        keys: by the id and the algorithm of a token; the id is None for a key without one.
        source: what the keys were made of.
    """

    def __init__(
        self, keys: Mapping[tuple[str | None, str], jwt.PyJWK], source: Sequence[object]
    ) -> None:
        self._keys = keys
        self._source = source

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeySet) and other._source == self._source

    __hash__ = None  # type: ignore[assignment]

    def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Return the key of a token; None: it is not known.

        Args:
            key_id: as the token names it; None: it names none, and only one key may fit.
        """
        if key_id is not None:
            return self._keys.get((key_id, algorithm))
        fitting = [key for (_, each), key in self._keys.items() if each == algorithm]
        return fitting[0] if len(fitting) == 1 else None


def parse_keys(text: str | bytes, algorithms: Sequence[str]) -> KeySet:
    """Return the keys in a text that fit one of the algorithms.

    Raises:
        InvalidArgument: the text is not a key set, has a private or a short key, or has no key
            that fits.
    """
    try:
        keys = json.loads(text)["keys"]
        tables = [each for each in keys if isinstance(each, dict)]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InvalidArgument('this is not a JSON Web Key Set: expected {"keys": […]}') from None
    found: dict[tuple[str | None, str], jwt.PyJWK] = {}
    for number, table in enumerate(tables, 1):
        key_id = table.get("kid")
        if key_id is not None and not isinstance(key_id, str):
            raise InvalidArgument(f"key {number}: the kid is not text")
        for algorithm in _algorithms_of(table):
            if algorithm in algorithms:
                found[key_id, algorithm] = _key(number, table, algorithm)
    if not found:
        raise InvalidArgument(f"no public key for {', '.join(algorithms)}")
    return KeySet(found, tables)


def _algorithms_of(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the algorithms that a key may be used for."""
    if table.get("use", "sig") != "sig" or "verify" not in table.get("key_ops", ["verify"]):
        return
    curve = table.get("crv")
    kind = (table.get("kty"), curve if isinstance(curve, str) else None)
    for algorithm in _ALGORITHMS_OF_KEYS.get(kind, ()):  # type: ignore[arg-type]
        if table.get("alg", algorithm) == algorithm:
            yield algorithm


def _key(number: int, table: Mapping[str, Any], algorithm: str) -> jwt.PyJWK:
    if "d" in table:
        raise InvalidArgument(f"key {number} is private: a server needs public keys only")
    try:
        key = jwt.PyJWK(dict(table), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        raise InvalidArgument(f"key {number} is not valid") from None
    bits = getattr(key.key, "key_size", 0)
    if table["kty"] == "RSA" and bits < _LEAST_RSA_BITS:
        raise InvalidArgument(f"key {number} has {bits} bits; at least {_LEAST_RSA_BITS} are safe")
    return key
