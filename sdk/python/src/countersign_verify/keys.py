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
from .note import base64url_exact

VALID, INVALID, UNKNOWN_KEY = "valid", "invalid", "unknown_key"
_KINDS = {("OKP", "Ed25519"): (OKPKey, "EdDSA", ("x",)), ("EC", "P-256"): (ECKey, "ES256", ("x", "y"))}
_FAULTS = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


@dataclass(frozen=True)
class PublicKey:
    """One public key; the key says which algorithm holds, never the header."""

    key: Any
    algorithm: str
    thumbprint: str

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
            return cls(public, algorithm, public.thumbprint())
        except (*_FAULTS, Malformed):
            return None

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether that is this key's signature over these bytes, in the form of RFC 9421 §3.3 (and of JWS)."""
        public = self.key.public_key
        try:
            if self.algorithm == "EdDSA":
                public.verify(signature, message)
            elif len(signature) == 64:
                numbers = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
                public.verify(encode_dss_signature(*numbers), message, ECDSA(SHA256()))
            else:
                return False
        except (InvalidSignature, ValueError):
            return False
        return True


def _hashable(jwk: dict) -> bool:
    return isinstance(jwk.get("kty"), str) and isinstance(jwk.get("crv"), str)


@dataclass
class Keyring:
    """The keys as registered so far, by thumbprint, with their party."""

    held: dict[str, tuple[str, PublicKey]] = field(default_factory=dict)
    ever: set[str] = field(default_factory=set)

    def find(self, kid: str) -> tuple[str, PublicKey] | None:
        return self.held.get(kid)


@dataclass(frozen=True)
class Statement:
    """What a new check of a statement finds."""

    result: str
    party: str | None = None
    payload: dict = field(default_factory=dict)


def check_statement(compact: Any, typ: str, keys: Keyring) -> Statement:
    """Checks a statement of that type against the keys as registered so far."""
    if not isinstance(compact, str) or not compact.isascii():
        return Statement(INVALID)
    try:
        parts = compact.split(".")
        header = strict_json.parse(base64url_exact(parts[0]))
        if len(parts) != 3 or not isinstance(header, dict) or not isinstance(header.get("kid"), str):
            return Statement(INVALID)
        base64url_exact(parts[2])
        found = keys.find(header["kid"])
        if found is None:
            return Statement(UNKNOWN_KEY)
        party, key = found
        payload = strict_json.parse(base64url_exact(parts[1]))
        if header.get("typ") != typ or "crit" in header or not isinstance(payload, dict):
            return Statement(INVALID)
        registry = jws.JWSRegistry(algorithms=[key.algorithm], strict_check_header=False)
        with warnings.catch_warnings():
            # The library warns of the name `EdDSA`, which RFC 9864 replaces; the format has it from RFC 8037.
            warnings.simplefilter("ignore")
            token = jws.extract_compact(compact.encode("ascii"), registry=registry)
            good = jws.validate_compact(token, key.key, registry=registry)
    except (*_FAULTS, Malformed):
        return Statement(INVALID)
    return Statement(VALID, party, payload) if good else Statement(INVALID)
