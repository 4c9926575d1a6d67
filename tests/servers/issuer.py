"""An issuer of JSON Web Tokens, which answers over HTTP as one does over HTTPS."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm

from prism.adapters.http_server import HttpRequest, HttpResponse, HttpServer

NAME = "https://id.example.com"
AUDIENCE = "prism"


class Issuer:
    """Issuer with keys by id, the last of which signs.

    Attributes:
        name: claim `iss` of its tokens.
        is_down: whether its server answers 503.
        asked: number of requests for its keys.
    """

    def __init__(self, name: str = NAME) -> None:
        self.name = name
        self.is_down = False
        self.asked = 0
        self._keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self._server: HttpServer | None = None
        self.rotate("1")

    def rotate(self, key_id: str) -> None:
        """Sign with another key from now on, and publish no other."""
        self._keys = {key_id: ec.generate_private_key(ec.SECP256R1())}

    @property
    def key_set(self) -> str:
        """Its public keys."""
        keys = [
            json.loads(ECAlgorithm.to_jwk(key.public_key())) | {"kid": key_id}
            for key_id, key in self._keys.items()
        ]
        return json.dumps({"keys": keys})

    def token(
        self,
        name: object = "orders",
        *,
        lasts_s: float = 60,
        headers: Mapping[str, Any] | None = None,
        leave_out: str = "",
        **claims: Any,
    ) -> str:
        """Return a token; more claims and headers replace what it has by default."""
        (key_id, key) = list(self._keys.items())[-1]
        content = {
            "sub": name,
            "iss": self.name,
            "aud": AUDIENCE,
            "exp": time.time() + lasts_s,
            **claims,
        }
        content.pop(leave_out, None)
        return jwt.encode(content, key, "ES256", headers={"kid": key_id, **(headers or {})})

    def unsigned(self) -> str:
        """Return a token with the algorithm `none`."""
        return jwt.encode(jwt_claims(self.token()), "", "none", headers={"kid": "1"})

    def signed_with_public_key(self) -> str:
        """Return a token by HS256 whose secret is the public key, which everybody knows."""
        (key,) = self._keys.values()
        secret = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        parts = ({"alg": "HS256", "kid": "1"}, jwt_claims(self.token()))
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in parts)
        return f"{signed}.{_encoded(hmac.digest(secret, signed.encode(), sha256))}"

    async def start(self) -> str:
        """Serve discovery and keys on a port; return the URL, which becomes its name."""
        self._server = HttpServer(
            self._answer, host="127.0.0.1", port=0, remedy="", max_connections=8
        )
        self.name = f"http://{await self._server.start()}"
        return self.name

    async def stop(self) -> None:
        """Close the port, if it is open."""
        if self._server is not None:
            await self._server.stop()

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        if self.is_down:
            return HttpResponse(503, "text/plain", b"")
        if request.path == "/keys":
            self.asked += 1
            return HttpResponse(200, "application/json", self.key_set.encode())
        if request.path == "/.well-known/openid-configuration":
            found = json.dumps({"issuer": self.name, "jwks_uri": f"{self.name}/keys"})
            return HttpResponse(200, "application/json", found.encode())
        return HttpResponse(302, "text/plain", b"", ((b"location", b"/keys"),))


def jwt_claims(token: str) -> dict[str, Any]:
    """Return what a token says, unchecked."""
    return jwt.decode(token, options={"verify_signature": False})


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()
