"""Public keys as JWK, statements as JWS (docs/format.md §6)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from . import strict_json
from .findings import Malformed
from .note import base64url_exact, ed25519_verifies, is_small
from .passkey import Assertion, Passkey

VALID, INVALID, UNKNOWN_KEY = "valid", "invalid", "unknown_key"
MAX_STATEMENT = 262_144
_KINDS = {("OKP", "Ed25519"): (OKPKey, "EdDSA", ("x",)), ("EC", "P-256"): (ECKey, "ES256", ("x", "y"))}
_FAULTS = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


@dataclass(frozen=True)
class PublicKey:
    """One public key; the key says which algorithm holds, never the header."""

    key: Any
    algorithm: str
    thumbprint: str
    usable: bool

    @classmethod
    def of(cls, jwk: Any) -> PublicKey | None:
        """The key of a JWK, if it is one of the two kinds that the format knows."""
        if not isinstance(jwk, dict):
            return None
        kind = _KINDS.get((jwk.get("kty"), jwk.get("crv"))) if _hashable(jwk) else None
        if kind is None:
            return None
        make, algorithm, coordinates = kind
        try:
            if any(len(base64url_exact(jwk[name])) != 32 for name in coordinates):
                return None
            public = make.import_key({name: jwk[name] for name in ("kty", "crv", *coordinates)})
            public.get_op_key("verify")
            raw = base64url_exact(jwk["x"])
            return cls(public, algorithm, public.thumbprint(), algorithm != "EdDSA" or not is_small(raw))
        except (*_FAULTS, Malformed):
            return None

    def verifies_assertion(self, message: bytes, signature: bytes) -> bool:
        """The same, in the form of an authenticator: ASN.1 DER for P-256."""
        if self.algorithm == "EdDSA":
            return self.verifies(message, signature)
        try:
            self.key.public_key.verify(signature, message, ECDSA(SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether that is this key's signature over these bytes, in the form of RFC 9421 §3.3 (and of JWS)."""
        public = self.key.public_key
        try:
            if self.algorithm == "EdDSA":
                return ed25519_verifies(public.public_bytes_raw(), message, signature)
            if len(signature) == 64:
                numbers = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
                public.verify(encode_dss_signature(*numbers), message, ECDSA(SHA256()))
                return True
        except (InvalidSignature, ValueError):
            pass
        return False


def read_statement(value: Any) -> Statement | Assertion | None:
    """A statement as it is disclosed: a text, or a passkey's assertion."""
    return Statement.parse(value) if isinstance(value, str) else Assertion.parse(value)


def _hashable(jwk: dict) -> bool:
    return isinstance(jwk.get("kty"), str) and isinstance(jwk.get("crv"), str)


@dataclass
class Registered:
    """A key with whose it is; how it signs, when it is a passkey's; and the highest counter that its authenticator gave."""

    party: str
    key: PublicKey
    passkey: Passkey | None = None
    counter: int = 0


@dataclass
class Keyring:
    """The keys as registered so far, by thumbprint, with their party; and whether they count now."""

    rows: dict[str, Registered] = field(default_factory=dict)
    good: set[str] = field(default_factory=set)

    def find(self, kid: str) -> Registered | None:
        """A key that counts now."""
        return self.rows[kid] if kid in self.good else None

    def signer(self, kid: str) -> Registered | None:
        """A key that counts now and signs texts, not assertions."""
        found = self.find(kid)
        return found if found is not None and found.passkey is None else None

    def change(self, body: dict) -> str | None:
        """Follows a `key` entry; says what is wrong with it."""
        kid, jwk = body["kid"], body.get("jwk")
        if jwk is not None:
            key = PublicKey.of(jwk)
            if key is None or key.thumbprint != kid:
                return "the key is none that the format knows, or not the one whose thumbprint it is registered under"
            before, passkey = self.rows.get(kid), body.get("passkey")
            self.rows[kid] = Registered(body["party"], key, Passkey(**passkey) if passkey else None, before.counter if before else 0)
        elif kid not in self.rows:
            return "it changes a key that was never registered"
        (self.good.add if body["event"] == "registered" else self.good.discard)(kid)
        return None


@dataclass(frozen=True)
class Statement:
    """A JWS in compact form, taken apart but not believed yet."""

    compact: str
    algorithm: str
    kid: str
    typ: str
    payload: Any

    @classmethod
    def parse(cls, compact: Any) -> Statement | None:
        """None when it is none."""
        if not isinstance(compact, str) or not compact.isascii() or len(compact) > MAX_STATEMENT:
            return None
        try:
            parts = compact.split(".")
            if len(parts) != 3:
                return None
            header = strict_json.parse(base64url_exact(parts[0]))
            payload = strict_json.parse(base64url_exact(parts[1]))
            base64url_exact(parts[2])
        except Malformed:
            return None
        if not isinstance(header, dict) or header.get("crit") is not None:
            return None
        names = (header.get("alg"), header.get("kid", ""), header.get("typ", ""))
        return cls(compact, *names, payload) if all(isinstance(name, str) for name in names) else None

    def signed_by(self, by: Registered) -> bool:
        """Whether the signature is that of this registered key."""
        return by.passkey is None and self.signed_with(by.key)

    def signed_with(self, key: PublicKey) -> bool:
        """Whether the signature is this key's, whatever is stated."""
        return self.algorithm == key.algorithm and _jws_verifies(self.compact, key)


def _jws_verifies(compact: str, key: PublicKey) -> bool:
    try:
        registry = jws.JWSRegistry(algorithms=[key.algorithm], strict_check_header=False)
        with warnings.catch_warnings():
            # The library warns of the name `EdDSA`, which RFC 9864 replaces; the format has it from RFC 8037.
            warnings.simplefilter("ignore")
            token = jws.extract_compact(compact.encode("ascii"), registry=registry)
            return key.usable and jws.validate_compact(token, key.key, registry=registry)
    except _FAULTS:
        return False
