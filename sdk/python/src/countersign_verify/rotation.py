"""Which keys sign a ledger's checkpoints, and how one takes over from another (docs/format.md §4 and §11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import bodies
from .bundle import Bundle
from .findings import Malformed, Report
from .note import VerifierKey, base64_exact


@dataclass
class _Row:
    key: VerifierKey
    beside: VerifierKey | None = None
    retired: bool = False


class LedgerKeys:
    """The keys that the entries of a bundle name, in their order."""

    def __init__(self, bundle: Bundle, report: Report) -> None:
        self._rows: list[_Row] = []
        for entry in bundle.entries:
            if entry.kind == "ledger" and bodies.body_misfit("ledger", entry.body) is None:
                wrong = self._change(entry.seq, bundle.origin, entry.body)
                if wrong is not None:
                    report.add("rotation-invalid", entry.seq, wrong)

    def _change(self, seq: int, origin: str, body: dict[str, Any]) -> str | None:
        """Takes in what an entry says; gives what is wrong with it, and then takes nothing in."""
        if seq == 0:
            key = _parse(body.get("vkey"))
            self._rows.extend([_Row(key)] if key is not None else [])
            return None
        if body["event"] == "rotated":
            return self._rotated(origin, body)
        return self._retired(body) if body["event"] == "retired" else None

    def _rotated(self, origin: str, body: dict[str, Any]) -> str | None:
        key, beside = _parse(body.get("vkey")), _parse(body.get("replaces"))
        if key is None or beside is None:
            return "it names no key"
        if key.name != origin:
            return "the new key has another name than the ledger"
        if not any(row.key == beside and not row.retired for row in self._rows):
            return "the key beside which it comes signs no checkpoints of this ledger"
        if any(row.key == key for row in self._rows):
            return "the new key was one of this ledger before"
        signatures = body.get("signatures") or []
        message = f"countersign-key-rotation\n{origin}\n{beside.line}\n{key.line}\n".encode()
        if len(signatures) != 2 or not all(_signed(by, message, signature) for by, signature in zip((beside, key), signatures, strict=True)):
            return "it is not signed by both keys"
        self._rows.append(_Row(key, beside))
        return None

    def _retired(self, body: dict[str, Any]) -> str | None:
        key = _parse(body.get("vkey"))
        signing = [row for row in self._rows if not row.retired]
        gone = [row for row in signing if row.key == key]
        if not gone or len(signing) < 2:
            return "it is not one of several keys that sign checkpoints of this ledger"
        gone[0].retired = True
        return None

    def names(self, key: VerifierKey) -> bool:
        return any(row.key == key for row in self._rows)

    def trusted(self, base: list[VerifierKey]) -> list[VerifierKey]:
        """Those that sign the newest checkpoint for whoever trusts `base`: these and those that came beside one of them, but for the retired."""
        trusted = list(base)
        for row in self._rows:
            if row.beside in trusted and row.key not in trusted:
                trusted.append(row.key)
        return [key for key in trusted if not any(row.retired and row.key == key for row in self._rows)]

    def ever_trusted(self, base: list[VerifierKey]) -> list[VerifierKey]:
        """Those that may have signed an earlier checkpoint: also the keys beside which one of the trusted came, and the retired."""
        trusted = list(base)
        for _ in self._rows:
            for row in self._rows:
                if row.beside is not None and (row.key in trusted) != (row.beside in trusted):
                    trusted.append(row.beside if row.key in trusted else row.key)
        return trusted


def _parse(vkey: Any) -> VerifierKey | None:
    try:
        return VerifierKey.parse(vkey.strip()) if isinstance(vkey, str) else None
    except Malformed:
        return None


def _signed(key: VerifierKey, message: bytes, signature: str) -> bool:
    try:
        return key.verifies(message, base64_exact(signature))
    except Malformed:
        return False
