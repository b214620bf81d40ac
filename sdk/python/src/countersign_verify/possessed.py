"""Proofs of possession that calls show (RFC 9449), checked again (docs/format.md §11)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from . import strict_json
from .bodies import text
from .bundle import Entry
from .findings import Malformed
from .keys import PublicKey, Statement
from .note import base64url_exact

TYPE = "dpop+jwt"
MAX_PROOF = 8_192
# Members that no public key has.
_PRIVATE = ("d", "k", "p", "q", "dp", "dq", "qi", "oth")
# How far a proof's time may be ahead of, and behind, that of its call, in seconds.
AHEAD, OLD = 60, 3_600
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WRONG_KEY = "proof-key", "the key that the agent proved to hold is not the recorded one, or not the one that its grant is bound to"


@dataclass(frozen=True)
class Proof:
    """A proof whose signature fits the key in it."""

    signed: str
    kid: str
    claims: dict

    @classmethod
    def parse(cls, compact: Any) -> Proof | None:
        """None when it is none, or not signed with the key that it carries."""
        if not isinstance(compact, str) or len(compact) > MAX_PROOF:
            return None
        statement = Statement.parse(compact)
        if statement is None or statement.typ != TYPE:
            return None
        try:
            jwk = strict_json.parse(base64url_exact(compact.partition(".")[0])).get("jwk")
        except Malformed:
            return None
        if not isinstance(jwk, dict) or any(name in jwk for name in _PRIVATE):
            return None
        if jwk.get("kty") == "OKP" and jwk.get("y") is not None:
            return None
        key = PublicKey.of(jwk)
        if key is None or not statement.signed_with(key) or not _are_claims(statement.payload):
            return None
        return cls(compact.rpartition(".")[0], key.thumbprint, statement.payload)


def _are_claims(said: Any) -> bool:
    if not isinstance(said, dict) or not all(text(said.get(name)) for name in ("jti", "htm", "htu")):
        return False
    iat = said.get("iat")
    if type(iat) is not int or not -(2**63) <= iat < 2**63:
        return False
    return all(said.get(name) is None or text(said[name]) for name in ("ath", "nonce"))


class Possessed:
    """The keys to which grants are bound, and the proofs that served, so far."""

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}
        self._served: set[str] = set()

    def bind(self, entry: Entry) -> None:
        """Notes the key to which a disclosed grant is bound."""
        grant = entry.body.get("grant")
        if not entry.has("grant") or not isinstance(grant, str):
            return
        disclosed = entry.shown("grant")
        key = disclosed.get("key") if isinstance(disclosed, dict) else None
        if isinstance(key, str):
            self._keys[grant] = key
        else:
            self._keys.pop(grant, None)

    def check(self, entry: Entry) -> tuple[bool, tuple[str, str] | None]:
        """Of a call: whether it shows a proof, and what is wrong with that, or with there being none."""
        body = entry.body
        shows = body.get("kid") is not None and entry.has("proof")
        wrong = self._wrong(entry) if shows else None
        bound = self._keys.get(body.get("grant"))
        if wrong is None and body["verdict"] == "allow" and bound is not None and body.get("kid") != bound:
            wrong = _WRONG_KEY
        return shows, wrong

    def _wrong(self, entry: Entry) -> tuple[str, str] | None:
        proof = Proof.parse(entry.shown("proof"))
        if proof is None:
            return "proof-invalid", "the agent's proof is none, or its signature does not fit the key in it"
        if proof.kid != entry.body["kid"]:
            return _WRONG_KEY
        other = _differs(entry, proof.claims)
        if other is not None:
            return "proof-says-other", f"the agent's proof was made for another `{other}` than that of this request"
        if proof.signed in self._served:
            return "proof-replayed", "the agent's proof served for an earlier call"
        self._served.add(proof.signed)
        return None


def _differs(entry: Entry, claims: dict) -> str | None:
    """What the proof says otherwise than the gateway found, than the request, or than the time of the verdict."""
    found, request = _members(entry, "possession"), _members(entry, "request")
    method, target = request.get("method"), request.get("target")
    # A message of MCP has a method of its own, `mcp/…`.
    asked = isinstance(method, str) and "/" not in method
    if _other(found, claims, "htm") or (asked and method != claims["htm"]):
        return "htm"
    if _other(found, claims, "htu") or (asked and isinstance(target, str) and not _leads_to(claims["htu"], target)):
        return "htu"
    if _other(found, claims, "ath"):
        return "ath"
    judged = entry.body.get("judged")
    if judged is None:
        return None
    age = (datetime.fromisoformat(judged) - _EPOCH) // timedelta(seconds=1) - claims["iat"]
    return None if -AHEAD <= age <= OLD else "iat"


def _members(entry: Entry, name: str) -> dict:
    value = entry.shown(name)
    return value if isinstance(value, dict) else {}


def _other(found: dict, claims: dict, name: str) -> bool:
    return isinstance(found.get(name), str) and found[name] != claims.get(name)


def _leads_to(url: str, target: str) -> bool:
    """Whether a URL ends with the path that the API was asked for. Escapes may have been rewritten: then nothing is said."""
    url, path = _path(url), _path(target)
    return path == "/" or "%" in url or "%" in path or url.endswith(path)


def _path(text: str) -> str:
    return text.partition("?")[0].partition("#")[0]
