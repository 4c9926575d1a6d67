"""Which JSON Web Tokens are valid, and which key sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from prism.adapters.jwt.fetching import check_url
from prism.adapters.jwt.keys import KeySet, parse_keys
from prism.adapters.jwt.verifier import JwtOptions, JwtVerifier
from prism.domain.access.logins import UnknownKey
from prism.ports import InvalidArgument, NotServing, Unauthenticated
from tests.servers.issuer import AUDIENCE, NAME, Issuer

ALGORITHMS = ("RS256", "ES256")


class Known:
    """Keys that do not change."""

    def __init__(self, current: KeySet | None) -> None:
        self.current = current

    async def refresh(self) -> bool:
        return False


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


def verifier_of(issuer: Issuer, **options: Any) -> JwtVerifier:
    chosen = {"issuer": NAME, "audience": AUDIENCE, "algorithms": ALGORITHMS, **options}
    return JwtVerifier(JwtOptions(**chosen), Known(parse_keys(issuer.key_set, ALGORITHMS)))


@pytest.mark.parametrize(
    ("claims", "names"),
    [
        ({}, ("jwt:orders",)),
        ({"groups": ["ops", "eu"]}, ("jwt:orders", "jwt-group:ops", "jwt-group:eu")),
        ({"groups": "ops"}, ("jwt:orders", "jwt-group:ops")),
        ({"groups": None}, ("jwt:orders",)),
        ({"aud": ["other", AUDIENCE]}, ("jwt:orders",)),
        ({"lasts_s": -20}, ("jwt:orders",)),
    ],
    ids=["plain", "groups", "one group", "no groups", "audiences", "within the clock skew"],
)
def test_a_valid_token_names_its_caller(
    issuer: Issuer, claims: dict[str, Any], names: tuple[str, ...]
) -> None:
    signed = verifier_of(issuer).verify(issuer.token(**claims))
    assert signed is not None
    assert signed.names == names


def test_other_claims_can_name_the_caller_and_its_groups(issuer: Issuer) -> None:
    verifier = verifier_of(issuer, name_claim="azp", groups_claim="roles")
    signed = verifier.verify(issuer.token(azp="stock", roles=["r"], groups=["g"]))
    assert signed is not None
    assert signed.names == ("jwt:stock", "jwt-group:r")


def test_a_token_ends_when_it_says_plus_the_clock_skew(issuer: Issuer) -> None:
    verifier = verifier_of(issuer, clock_skew=timedelta(seconds=5))
    signed = verifier.verify(issuer.token(exp=4_000_000_000))
    assert signed is not None
    assert signed.ends_at == 4_000_000_005


INVALID: dict[str, tuple[Callable[[Issuer], str], str]] = {
    "expired": (lambda each: each.token(lasts_s=-31), "it has expired"),
    "too early": (lambda each: each.token(nbf=4_000_000_000), "its time has not begun"),
    "without an end": (lambda each: each.token(leave_out="exp"), "it has no claim exp"),
    "endless": (lambda each: each.token(exp=float("inf")), "its form is wrong"),
    "other audience": (lambda each: each.token(aud="other"), "its audience is not prism"),
    "no audience": (lambda each: each.token(leave_out="aud"), "(audience is not|no claim aud)"),
    "other issuer": (lambda each: each.token(iss="https://evil"), f"its issuer is not {NAME}"),
    "no name": (lambda each: each.token(leave_out="sub"), "it has no claim sub"),
    "empty name": (lambda each: each.token(""), "sub is not the name"),
    "name that is hidden": (lambda each: each.token("a\u202eb"), "sub is not the name"),
    "long name": (lambda each: each.token("a" * 257), "sub is not the name"),
    "groups of numbers": (lambda each: each.token(groups=[1]), "groups is not a list of groups"),
    "groups by number": (lambda each: each.token(groups=1), "groups is not a list of groups"),
    "unsigned": (lambda each: each.unsigned(), "its algorithm is none of RS256, ES256"),
    "by the public key": (lambda each: each.signed_with_public_key(), "algorithm is none of"),
    "extension": (lambda each: each.token(headers={"crit": ["x"]}), "extension|no JWT"),
    "other signature": (lambda each: Issuer().token(), "its signature or its form is wrong"),
    "another key of its own": (
        lambda each: Issuer().token(headers={"jwk": {"kty": "oct"}, "jku": "https://evil"}),
        "its signature or its form is wrong",
    ),
    "long": (lambda each: each.token(more="x" * 20_000), "longer than"),
    "garbage": (lambda each: "a.b.c", "it is no JWT"),
    "nested": (lambda each: "W1tb" * 4000 + ".b.c", "it is no JWT"),
}


@pytest.mark.parametrize("case", INVALID)
def test_a_token_is_refused_for_what_is_wrong(issuer: Issuer, case: str) -> None:
    make, reason = INVALID[case]
    with pytest.raises(Unauthenticated, match=reason):
        verifier_of(issuer).verify(make(issuer))


def test_an_opaque_token_is_no_signed_one(issuer: Issuer) -> None:
    assert verifier_of(issuer).verify("prism_opaque") is None


def test_a_key_that_is_not_known_may_be_known_later(issuer: Issuer) -> None:
    with pytest.raises(UnknownKey):
        verifier_of(issuer).verify(issuer.token(headers={"kid": "2"}))
    options = JwtOptions(issuer=NAME, audience=AUDIENCE, algorithms=ALGORITHMS)
    with pytest.raises(NotServing, match=f"no key of the issuer {NAME} is known yet"):
        JwtVerifier(options, Known(None)).verify(issuer.token())


def jwk(key: Any, **fields: Any) -> dict[str, Any]:
    kind = ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else RSAAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), **fields}


def test_a_key_is_used_for_its_own_algorithms() -> None:
    elliptic = ec.generate_private_key(ec.SECP256R1())
    wide = ec.generate_private_key(ec.SECP384R1())
    keys = parse_keys(
        json.dumps(
            {
                "keys": [
                    jwk(elliptic, kid="a"),
                    jwk(wide, kid="b"),
                    jwk(elliptic, kid="c", use="enc"),
                    jwk(elliptic, kid="d", alg="ES384"),
                    {"kty": "oct", "k": "c2VjcmV0", "kid": "e", "alg": "HS256"},
                    {"kty": "new", "kid": "f"},
                ]
            }
        ),
        ("ES256", "ES384", "RS256"),
    )
    found = [(each, alg) for each in "abcdef" for alg in ALGORITHMS if keys.find(each, alg)]
    assert found == [("a", "ES256")]
    assert keys.find("b", "ES384") is not None
    # Without an id, only one key may fit.
    assert keys.find(None, "ES256") is keys.find("a", "ES256")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a JSON Web Key Set"),
        ("[]", "not a JSON Web Key Set"),
        ('{"keys": 1}', "not a JSON Web Key Set"),
        ('{"keys": []}', "no public key for RS256, ES256"),
        ('{"keys": [{"kty": "RSA", "n": "!", "e": "AQAB"}]}', "key 1 is not valid"),
        ('{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "A"}]}', "key 1 is private"),
        ('{"keys": [{"kty": "RSA", "kid": 1}]}', "key 1: the kid is not text"),
    ],
)
def test_a_key_set_is_refused_for_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse_keys(text, ALGORITHMS)


def test_short_keys_are_refused() -> None:
    short = rsa.generate_private_key(65537, 1024)
    with pytest.raises(InvalidArgument, match="key 1 has 1024 bits; at least 2048 are safe"):
        parse_keys(json.dumps({"keys": [jwk(short)]}), ALGORITHMS)


@pytest.mark.parametrize(
    ("url", "valid"),
    [
        ("https://id.example.com/realms/a", True),
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("http://id.example.com", False),
        ("http://127.0.0.1@evil.example.com", False),
        ("https://", False),
        ("https://a:b", False),
        ("ftp://127.0.0.1", False),
        ("file:///etc/passwd", False),
    ],
)
def test_keys_come_by_tls_or_from_this_machine(url: str, valid: bool) -> None:
    if valid:
        check_url("jwt_issuer", url)
    else:
        with pytest.raises(InvalidArgument, match="jwt_issuer is "):
            check_url("jwt_issuer", url)
