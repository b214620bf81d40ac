"""An API's receipt: what it signed, as text (docs/receipts.md; RFC 9421 §2.5)."""

from __future__ import annotations

from typing import Any

import http_sf

from .findings import Malformed
from .keys import PublicKey
from .note import Checkpoint, base64_exact

MAX_BASE = 65_536
_ALGORITHMS = {"EdDSA": "ed25519", "ES256": "ecdsa-p256-sha256"}


class Signed:
    """A signature base with its signature, taken apart; not believed before `fits`."""

    def __init__(self, members: Any) -> None:
        if not isinstance(members, dict) or not isinstance(members.get("base"), str) or not isinstance(members.get("value"), str):
            raise Malformed("not a receipt: expected `base` and `value`")
        self._base = members["base"].encode("utf-8")
        self._signature = base64_exact(members["value"])
        if len(self._base) > MAX_BASE:
            raise Malformed("not a signature base: longer than 65536 bytes")
        *lines, last = members["base"].split("\n")
        name, colon, params = last.partition(": ")
        if name != '"@signature-params"' or not colon:
            raise Malformed("not a signature base: it does not end with its parameters")
        covered = _field(params, "list")
        if len(covered) != 1 or not isinstance(covered[0][0], list):
            raise Malformed("not a signature base: its parameters are no list of what is covered")
        items, self._params = covered[0]
        if len(items) != len(lines):
            raise Malformed("not a signature base: its lines are not those that the parameters list")
        self._lines: dict[str, str] = {}
        for item, line in zip(items, lines, strict=True):
            identifier = http_sf.ser(item)
            if not line.startswith(f"{identifier}: ") or identifier in self._lines:
                raise Malformed("not a signature base: its lines are not those that the parameters list")
            self._lines[identifier] = line[len(identifier) + 2 :]
        if not self.kid:
            raise Malformed("not a signature base: no `keyid`")

    @property
    def kid(self) -> str:
        return self._text("keyid") or ""

    def _text(self, name: str) -> str | None:
        value = self._params.get(name)
        return value if type(value) is str else None

    def fits(self, key: PublicKey) -> bool:
        """Whether this key made the signature over this very text."""
        return self._text("alg") in (None, _ALGORITHMS[key.algorithm]) and key.verifies(self._base, self._signature)

    @property
    def entry(self) -> str | None:
        """The ledger's entry that the request named."""
        return self._lines.get('"countersign-entry";req')

    @property
    def status(self) -> int | None:
        text = self._lines.get('"@status"', "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 6 and int(text) < 65_536 else None

    @property
    def content_sha256(self) -> str | None:
        """SHA-256 of the answer's content, from `Content-Digest` in its head or its trailers."""
        text = self._lines.get('"content-digest"', self._lines.get('"content-digest";tr'))
        try:
            digest = _field(text or "", "dictionary").get("sha-256")
        except Malformed:
            return None
        return digest[0].hex() if digest and isinstance(digest[0], bytes) and len(digest[0]) == 32 else None

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint of the ledger that the API countersigned."""
        try:
            value = _field(self._lines.get('"countersign-checkpoint";req', ""), "item")[0]
            return Checkpoint.parse(value) if isinstance(value, bytes) else None
        except Malformed:
            return None


def _field(text: str, kind: str) -> Any:
    try:
        return http_sf.parse(text.encode("ascii"), tltype=kind)
    except (http_sf.StructuredFieldError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise Malformed(f"not a structured field: {error}") from error
