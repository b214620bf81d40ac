"""A passkey's signature over a statement: a WebAuthn assertion whose challenge is the digest of what is stated (docs/format.md §6)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import rfc8785

from . import bodies, strict_json
from .findings import Malformed
from .note import base64url_exact

MAX_CLIENT_DATA = 4096
MAX_AUTHENTICATOR_DATA = 8192
PRESENT, VERIFIED, ELIGIBLE, BACKED_UP, ATTESTED, EXTENSIONS = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80
_MEMBERS = ("typ", "kid", "authenticator_data", "client_data", "signature")


@dataclass(frozen=True)
class Passkey:
    """How a passkey was registered."""

    rp_id: str
    origin: str
    credential: str


@dataclass(frozen=True)
class Assertion:
    """An assertion, taken apart but not believed yet."""

    typ: str
    kid: str
    payload: Any
    authenticator_data: str
    client_data: str
    signature: str

    @classmethod
    def parse(cls, value: Any) -> Assertion | None:
        """None when it is none."""
        if not isinstance(value, dict) or value.keys() != {*_MEMBERS, "payload"} or not all(isinstance(value[name], str) for name in _MEMBERS):
            return None
        return cls(**value)

    @property
    def counter(self) -> int | None:
        """The authenticator's counter, not believed."""
        try:
            data = _decoded(self.authenticator_data, MAX_AUTHENTICATOR_DATA)
        except Malformed:
            return None
        return int.from_bytes(data[33:37], "big") if len(data) >= 37 else None

    def signed_by(self, by: Any) -> bool:
        """Whether that registered passkey signed exactly this statement, on its own page, with its owner verified."""
        if by.passkey is None:
            return False
        try:
            data = _decoded(self.authenticator_data, MAX_AUTHENTICATOR_DATA)
            client_data = _decoded(self.client_data, MAX_CLIENT_DATA)
            signature = _decoded(self.signature, MAX_CLIENT_DATA)
            said = strict_json.parse(client_data)
            challenge = sha256(self.typ.encode() + b"\x00" + canonical(self.payload)).digest()
        except Malformed:
            return False
        fits = _said_on_its_page(said, challenge, by.passkey.origin) and _by_its_owner(data, by.passkey.rp_id)
        return fits and by.key.verifies_assertion(data + sha256(client_data).digest(), signature)


def _decoded(text: str, limit: int) -> bytes:
    data = base64url_exact(text)
    if len(data) > limit:
        raise Malformed("longer than it may be")
    return data


def canonical(value: Any) -> bytes:
    """The canonical form of a value that was signed."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, float) or (isinstance(item, int) and abs(item) > strict_json.SAFE):
            raise Malformed("a number that has no canonical form")
        todo.extend(item if isinstance(item, list) else item.values() if isinstance(item, dict) else ())
    try:
        return rfc8785.dumps(value)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no canonical form: {error}") from error


def _said_on_its_page(said: Any, challenge: bytes, origin: str) -> bool:
    expected = base64.urlsafe_b64encode(challenge).decode("ascii").rstrip("=")
    wrong = bodies.misfits(said, {"type": bodies.text, "challenge": bodies.text, "origin": bodies.text}, {"crossOrigin": bodies.flag, "topOrigin": bodies.text})
    if wrong is not None:
        return False
    alone = not said.get("crossOrigin", False) and said.get("topOrigin") is None
    return (said["type"], said["challenge"], said["origin"]) == ("webauthn.get", expected, origin) and alone


def _by_its_owner(data: bytes, rp_id: str) -> bool:
    if len(data) < 37 or data[:32] != sha256(rp_id.encode()).digest():
        return False
    flags, more = data[32], len(data) > 37
    seen = flags & PRESENT and flags & VERIFIED and not flags & ATTESTED
    # What is not eligible cannot be backed up; outputs of extensions follow exactly where the flag says so.
    return bool(seen) and flags & (ELIGIBLE | BACKED_UP) != BACKED_UP and more == bool(flags & EXTENSIONS)


def is_cloned(last: int, counter: int) -> bool:
    """Whether a counter after `last` shows that there are two copies of an authenticator. Those that do not count say 0 always."""
    return (last != 0 or counter != 0) and counter <= last
