"""Keys, statements and receipts."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from forge import b64url, jwk_of, key_of, kid_of, statement

from countersign_verify.findings import Malformed
from countersign_verify.keys import PublicKey, Statement
from countersign_verify.receipts import Signed


def signed_with(seed: int, alg: str = "EdDSA", **header) -> Statement | None:
    return Statement.parse(statement({"words": "pay"}, {"alg": alg, "kid": kid_of(seed), "typ": "t", **header}))


def p256() -> tuple[ec.EllipticCurvePrivateKey, dict]:
    private = ec.derive_private_key(7, ec.SECP256R1())
    numbers = private.public_key().public_numbers()
    x, y = numbers.x.to_bytes(32), numbers.y.to_bytes(32)
    return private, {"kty": "EC", "crv": "P-256", "x": b64url(x), "y": b64url(y)}


def raw_signature(private: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    r, s = decode_dss_signature(private.sign(message, ec.ECDSA(SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


def test_a_statement_fits_its_key_alone():
    made = signed_with(3)
    assert made.signed_with(PublicKey.of(jwk_of(3)))
    assert not made.signed_with(PublicKey.of(jwk_of(4)))
    assert made.payload == {"words": "pay"}


def test_the_key_decides_the_algorithm_never_the_header():
    for alg in ("ES256", "HS256", "none", "Ed25519"):
        assert not signed_with(3, alg).signed_with(PublicKey.of(jwk_of(3)))


def test_es256_is_read_as_r_and_s():
    private, jwk = p256()
    key = PublicKey.of(jwk)
    head = f"{b64url(json.dumps({'alg': 'ES256', 'kid': key.thumbprint}).encode())}.{b64url(b'{}')}"
    good = Statement.parse(f"{head}.{b64url(raw_signature(private, head.encode()))}")
    assert good.signed_with(key)
    der = Statement.parse(f"{head}.{b64url(private.sign(head.encode(), ec.ECDSA(SHA256())))}")
    assert not der.signed_with(key)
    assert key.verifies(b"x", raw_signature(private, b"x"))
    assert not key.verifies(b"y", raw_signature(private, b"x"))


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c", "e30.e30.", "e30.e30.e30.e30", 1, None, "e30=.e30.", "x" * 300_000])
def test_what_is_no_statement_is_none(text):
    assert Statement.parse(text) is None


def test_a_header_that_must_not_be_ignored_refuses_the_statement():
    assert signed_with(3, crit=["x"]) is None


@pytest.mark.parametrize(
    "jwk",
    [
        None,
        {},
        {"kty": [], "crv": {}},
        jwk_of(3) | {"x": "AA"},
        jwk_of(3) | {"x": 1},
        jwk_of(3) | {"crv": "X25519"},
        {"kty": "RSA", "crv": "P-256"},
        {"kty": "EC", "crv": "P-256", "x": b64url(bytes(32)), "y": b64url(bytes(32))},
    ],
)
def test_a_jwk_that_is_no_key_is_none(jwk):
    assert PublicKey.of(jwk) is None


BASE = (
    '"@status": 200\n"countersign-entry";req: ' + "a" * 64 + '\n"@signature-params": ("@status" "countersign-entry";req);created=1;keyid="'
    + kid_of(5) + '";tag="countersign-receipt"'
)


def receipt(base: str) -> Signed:
    import base64

    return Signed({"base": base, "value": base64.b64encode(key_of(5).sign(base.encode())).decode()})


def test_a_receipt_fits_its_key_and_says_what_it_covers():
    signed = receipt(BASE)
    assert signed.fits(PublicKey.of(jwk_of(5)))
    assert not signed.fits(PublicKey.of(jwk_of(6)))
    assert (signed.kid, signed.status, signed.entry) == (kid_of(5), 200, "a" * 64)
    assert (signed.content_sha256, signed.checkpoint) == (None, None)


@pytest.mark.parametrize(
    "base",
    [
        "",
        BASE.replace('"@status": 200\n', ""),
        BASE.replace('("@status" ', '("@status" "@status" ').replace('"@status": 200\n', '"@status": 200\n"@status": 200\n'),
        BASE.replace("keyid", "kid"),
        BASE.replace('("@status"', '("@method"'),
        BASE + "\n",
        BASE.replace(";created", ", (), ;created"),
        '"@signature-params": 1',
    ],
)
def test_what_is_no_signature_base_is_refused(base):
    with pytest.raises(Malformed):
        receipt(base)
