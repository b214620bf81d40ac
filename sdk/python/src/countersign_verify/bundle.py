"""A bundle: a zip file's files, made into entries (docs/format.md §9)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from . import archive, bodies, strict_json
from .findings import Malformed
from .note import Checkpoint, VerifierKey, base64url_exact, parse_keys

FORMAT = "countersign-bundle/1"
MAX_BUNDLE = 1 << 30
MAX_ENTRY = 65_535
_NUMBERED = re.compile(r"(entries|disclosures)/(0|[1-9][0-9]{0,19})\.json|(proofs)/(0|[1-9][0-9]{0,19})\.tlog-proof")
_LIMITS = {
    "manifest.json": 1 << 28,
    "keys.txt": 1 << 16,
    "checkpoint.txt": 1 << 16,
    "entries": MAX_ENTRY,
    "proofs": 1 << 16,
    "disclosures": 1 << 28,
    "policies": 1 << 28,
}


@dataclass(frozen=True)
class Disclosure:
    """One value as a bundle has it: `shown` with what it says, or `erased`, or `withheld`."""

    state: str
    name: str = ""
    value: Any = None
    digest: str = ""


@dataclass(frozen=True)
class Entry:
    """One entry, and what the bundle has beside it."""

    seq: int
    data: bytes
    members: dict
    hash: str
    proof: bytes | None
    disclosures: dict[str, Disclosure]

    @property
    def kind(self) -> str:
        return self.members["kind"]

    @property
    def body(self) -> dict:
        return self.members["body"]

    @property
    def time(self) -> str:
        return self.members["time"]

    @property
    def instruction(self) -> str | None:
        return self.members.get("instruction")

    @property
    def sd(self) -> dict:
        return self.body.get("sd") or {}

    def shown(self, name: str) -> Any:
        """The disclosed value of that name, if it is the one that the entry commits to; else nothing."""
        found = self.disclosures.get(name)
        if found is None or found.state != "shown" or found.name != name or found.digest != self.sd.get(name):
            return None
        return found.value


@dataclass(frozen=True)
class Bundle:
    """Everything that a bundle has."""

    origin: str
    instruction: str | None
    window: tuple[str, str] | None
    call: str | None
    keys: list[VerifierKey]
    checkpoint: Checkpoint
    entries: list[Entry]
    policies: dict[str, bytes] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return self.instruction is None and self.window is None and self.call is None


def load(data: bytes) -> Bundle:
    """Reads a bundle. `archive.NotAZip` when it is no zip file at all, `Malformed` when it is not a bundle."""
    files = archive.read(data, _limit_of)
    manifest = _named("manifest.json", lambda: strict_json.parse(_need(files, "manifest.json")))
    origin, numbers, selection = _named("manifest.json", lambda: _manifest(manifest))
    listed = {str(number) for number in numbers}
    for name in files:
        match = _NUMBERED.fullmatch(name)
        if match and (match[2] or match[4]) not in listed:
            raise Malformed(f"`{name}`: this file does not belong to a bundle, or its entry is not listed")
    return Bundle(
        origin=origin,
        instruction=selection.get("instruction"),
        window=tuple(selection["window"]) if "window" in selection else None,
        call=selection.get("call"),
        keys=_named("keys.txt", lambda: parse_keys(_text(_need(files, "keys.txt")))),
        checkpoint=_named("checkpoint.txt", lambda: Checkpoint.parse(_need(files, "checkpoint.txt"))),
        entries=[_entry(files, number) for number in sorted(numbers)],
        policies={name.removeprefix("policies/"): content for name, content in files.items() if name.startswith("policies/")},
    )


def _limit_of(name: str) -> int | None:
    match = _NUMBERED.fullmatch(name)
    if match:
        return _LIMITS[match[1] or match[3]]
    folder, slash, rest = name.partition("/")
    if slash and folder == "policies" and bodies.HASH.fullmatch(rest):
        return _LIMITS["policies"]
    return _LIMITS.get(name) if not slash and "." in name else None


def _named(name: str, read):
    try:
        return read()
    except Malformed as error:
        raise Malformed(f"`{name}`: {error}") from error


def _need(files: dict[str, bytes], name: str) -> bytes:
    if name not in files:
        raise Malformed("it is missing")
    return files[name]


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("not UTF-8") from error


def _manifest(manifest: Any) -> tuple[str, list[int], dict]:
    if not isinstance(manifest, dict) or not bodies.text(manifest.get("format")):
        raise Malformed("not a manifest")
    if manifest["format"] != FORMAT:
        raise Malformed(f"the format is `{manifest['format'][:80]}`; this version reads `{FORMAT}`")
    numbers = manifest.get("entries")
    if not bodies.text(manifest.get("origin")) or not bodies.many(bodies.number)(numbers):
        raise Malformed("`origin` or `entries` is missing or not what it must be")
    if len(set(numbers)) != len(numbers):
        raise Malformed("an entry is listed twice")
    return manifest["origin"], numbers, _selection(manifest.get("selection"))


def _selection(selection: Any) -> dict:
    if selection is None:
        return {}
    if not isinstance(selection, dict) or not selection:
        raise Malformed("`selection` is not what it must be")
    window = selection.get("window")
    if window is not None and not (bodies.many(bodies.instant)(window) and len(window) == 2):
        raise Malformed("`selection` has a window that is none")
    if any(name in selection and not bodies.text(selection[name]) for name in ("instruction", "call")):
        raise Malformed("`selection` is not what it must be")
    if not selection.keys() <= {"instruction", "window", "call"}:
        raise Malformed("`selection` is of a kind that this version does not know")
    return selection


def _entry(files: dict[str, bytes], number: int) -> Entry:
    name = f"entries/{number}.json"
    data = _named(name, lambda: _need(files, name))
    members = _named(name, lambda: _envelope(data))
    shown = f"disclosures/{number}.json"
    disclosures = _named(shown, lambda: _disclosures(files[shown])) if shown in files else {}
    return Entry(number, data, members, sha256(data).hexdigest(), files.get(f"proofs/{number}.tlog-proof"), disclosures)


def _envelope(data: bytes) -> dict:
    members = strict_json.parse_canonical(data)
    bodies.check_envelope(members)
    return members


def _disclosures(data: bytes) -> dict[str, Disclosure]:
    table = strict_json.parse(data)
    if not isinstance(table, dict):
        raise Malformed("not an object")
    return {name: _disclosure(value) for name, value in table.items()}


def _disclosure(value: Any) -> Disclosure:
    if value in ("erased", "withheld"):
        return Disclosure(value)
    if not isinstance(value, dict) or value.keys() != {"disclosure"} or not bodies.text(value["disclosure"]):
        raise Malformed("neither a disclosure nor `erased` nor `withheld`")
    text = value["disclosure"]
    triple = strict_json.parse(base64url_exact(text))
    if not isinstance(triple, list) or len(triple) != 3 or not bodies.text(triple[0]) or not bodies.text(triple[1]):
        raise Malformed("not a disclosure: expected base64url of the JSON array `[salt, name, value]`")
    return Disclosure("shown", triple[1], triple[2], b64digest(text))


def b64digest(text: str) -> str:
    """The digest of a disclosure (RFC 9901 §4.2.3)."""
    import base64

    return base64.urlsafe_b64encode(sha256(text.encode("ascii")).digest()).decode("ascii").rstrip("=")
