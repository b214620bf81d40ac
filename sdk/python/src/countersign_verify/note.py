"""Signed notes, verifier keys, checkpoints and proofs (docs/format.md §4 and §5)."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .findings import Malformed

ED25519 = 1
MAX_NOTE = 65_536
MAX_PROOF = 131_072
MAX_SIGNATURES = 100
_PRIME = 2**255 - 19
# The y coordinates of the points of small order, with the spellings that are not reduced.
_EIGHT = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = {0, 1, _PRIME - 1, _PRIME, _PRIME + 1, _EIGHT, _PRIME - _EIGHT}
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}")


def base64_exact(text: str) -> bytes:
    """Base64 (RFC 4648 §4) in the one spelling that an encoder writes."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("not base64") from error
    if base64.b64encode(data).decode("ascii") != text:
        raise Malformed("not base64 in its one spelling")
    return data


def base64url_exact(text: str) -> bytes:
    """Base64url (RFC 4648 §5) without padding, in the one spelling that an encoder writes."""
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise Malformed("not base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise Malformed("not base64url") from error
    if base64.urlsafe_b64encode(data).decode("ascii").rstrip("=") != text:
        raise Malformed("not base64url in its one spelling")
    return data


def decimal(text: str) -> int:
    """A number in decimal without a sign or leading zeros, of 64 bits."""
    if not _DECIMAL.fullmatch(text) or int(text) >= 2**64:
        raise Malformed("not a number in decimal")
    return int(text)


# All proofs of a bundle have the same checkpoint: its form and its signature are checked once.
@lru_cache(maxsize=256)
def ed25519_verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Ed25519, without points of small order: with such a key one signature fits every message."""
    if len(signature) != 64 or is_small(public) or is_small(signature[:32]):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_small(point: bytes) -> bool:
    """Whether that is a point of small order."""
    return (int.from_bytes(point, "little") & ~(1 << 255)) in _SMALL_ORDER


def is_name(name: str) -> bool:
    """Whether that can name a key or a log."""
    return name != "" and not any(char.isspace() or char == "+" or unicodedata.category(char) == "Cc" for char in name)


@dataclass(frozen=True)
class VerifierKey:
    """`name+hash+key` of c2sp.org/signed-note, for Ed25519."""

    name: str
    key_id: bytes
    public: bytes

    @classmethod
    def parse(cls, line: str) -> VerifierKey:
        parts = line.split("+", 2)
        if len(parts) != 3:
            raise Malformed("not a verifier key (`name+hash+key`): expected three parts joined by `+`")
        name, digest, encoded = parts
        if not is_name(name):
            raise Malformed("not a verifier key: its name is empty or has spaces, plus or control characters")
        key = base64_exact(encoded)
        if len(key) != 33 or key[0] != ED25519:
            raise Malformed("not a verifier key for Ed25519")
        key_id = sha256(name.encode() + b"\n" + key).digest()[:4]
        if key_id.hex() != digest:
            raise Malformed("not a verifier key: the hash is not that of name and key")
        return cls(name, key_id, key[1:])

    @property
    def line(self) -> str:
        """In its one spelling."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([ED25519]) + self.public).decode('ascii')}"

    def verifies(self, text: bytes, signature: bytes) -> bool:
        return ed25519_verifies(self.public, text, signature)


def parse_keys(text: str) -> list[VerifierKey]:
    """Verifier keys, a line each; empty lines and lines that begin with `#` do not count."""
    return [VerifierKey.parse(line.strip()) for line in text.split("\n") if line.strip() and not line.startswith("#")]


@dataclass(frozen=True)
class Checkpoint:
    """A signed checkpoint (c2sp.org/tlog-checkpoint)."""

    origin: str
    size: int
    root: bytes
    text: bytes
    signatures: tuple[tuple[str, bytes, bytes], ...]

    @classmethod
    @lru_cache(maxsize=256)
    def parse(cls, data: bytes) -> Checkpoint:
        note = _text(data, MAX_NOTE)
        if any(unicodedata.category(char) == "Cc" and char != "\n" for char in note):
            raise Malformed("a control character in a note")
        body, blank, signed = note.rpartition("\n\n")
        if not blank:
            raise Malformed("not a signed note: no blank line before the signatures")
        lines = body.split("\n")
        if len(lines) < 3 or not lines[0] or "" in lines[3:]:
            raise Malformed("not a checkpoint: expected origin, size and root, a line each")
        root = base64_exact(lines[2])
        if len(root) != 32:
            raise Malformed("not a checkpoint: the root is not 32 bytes")
        return cls(lines[0], decimal(lines[1]), root, (body + "\n").encode(), _signatures(signed))

    def signed_by(self, keys: list[VerifierKey]) -> bool:
        """Whether one of these keys, whose name is the origin, signed it, and no signature that claims to be of one fails."""
        good = False
        for key in keys:
            for name, key_id, signature in self.signatures:
                if key.name == self.origin and name == key.name and key_id == key.key_id:
                    if not key.verifies(self.text, signature):
                        return False
                    good = True
        return good


def _text(data: bytes, limit: int) -> str:
    if len(data) > limit:
        raise Malformed("longer than it may be")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("not UTF-8") from error


def _signatures(text: str) -> tuple[tuple[str, bytes, bytes], ...]:
    if not text.endswith("\n"):
        raise Malformed("not a signed note: it does not end with a line feed")
    if text.count("\n") > MAX_SIGNATURES:
        raise Malformed("not a signed note: more than 100 signatures")
    signatures = []
    for line in text[:-1].split("\n"):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "—" or not is_name(parts[1]):
            raise Malformed("not a signed note: a line that is no signature")
        blob = base64_exact(parts[2])
        if len(blob) < 5:
            raise Malformed("not a signed note: a signature that is too short")
        signatures.append((parts[1], blob[:4], blob[4:]))
    return tuple(signatures)


@dataclass(frozen=True)
class Proof:
    """That an entry stands at `index` in the tree of a checkpoint (c2sp.org/tlog-proof)."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint

    @classmethod
    def parse(cls, data: bytes) -> Proof:
        head, blank, note = _text(data, MAX_PROOF).partition("\n\n")
        lines = head.split("\n")
        if len(lines) > 1 and lines[1].startswith("extra "):
            del lines[1]
        if not blank or lines[0] != "c2sp.org/tlog-proof@v1" or len(lines) < 2 or not lines[1].startswith("index "):
            raise Malformed("not a proof: expected `c2sp.org/tlog-proof@v1`, `index N`, hashes, an empty line, a checkpoint")
        if len(lines) - 2 > 64:
            raise Malformed("not a proof: longer than any path in a tree")
        path = tuple(base64_exact(line) for line in lines[2:])
        if any(len(step) != 32 for step in path):
            raise Malformed("not a proof: a hash that is not 32 bytes")
        return cls(decimal(lines[1].removeprefix("index ")), path, Checkpoint.parse(note.encode()))
