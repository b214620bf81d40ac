"""A bundle: a zip file's files, made into entries (docs/format.md §9)."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from . import archive, bodies, strict_json
from .findings import Malformed
from .note import Checkpoint, Proof, VerifierKey, base64url_exact

FORMAT = "countersign-bundle/1"
MAX_BUNDLE = 1 << 31
MAX_FILE = 16 << 20
MAX_ENTRY = 65_535
_NUMBERED = re.compile(r"(entries|disclosures)/(0|[1-9][0-9]{0,19})\.json|(proofs)/(0|[1-9][0-9]{0,19})\.tlog-proof")
# The reports are for people: they may be there, and nothing in them is believed.
_SINGLE = ("manifest.json", "keys.txt", "checkpoint.txt", "report.html", "report.zh-CN.html")


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
    proof: Proof | None
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
        sd = self.body.get("sd")
        return sd if bodies.table(bodies.text)(sd) else {}

    def has(self, name: str) -> bool:
        """Whether a value of that name is disclosed, and is the one that the entry commits to."""
        found = self.disclosures.get(name)
        return found is not None and found.state == "shown" and found.name == name and found.digest == self.sd.get(name)

    def shown(self, name: str) -> Any:
        """That value."""
        return self.disclosures[name].value if self.has(name) else None


@dataclass(frozen=True)
class Bundle:
    """Everything that a bundle has."""

    origin: str
    instruction: str | None
    window: tuple[str, str] | None
    call: str | None
    keys: list[VerifierKey]
    entries: list[Entry]
    checkpoint: Checkpoint | None = None
    policies: dict[str, bytes] = field(default_factory=dict)
    has_report: bool = False

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
    own = _named("checkpoint.txt", lambda: Checkpoint.parse(files["checkpoint.txt"])) if "checkpoint.txt" in files else None
    return Bundle(
        origin=origin,
        instruction=selection.get("instruction"),
        window=tuple(selection["window"]) if "window" in selection else None,
        call=selection.get("call"),
        checkpoint=own,
        keys=_named("keys.txt", lambda: [VerifierKey.parse(line.strip()) for line in _lines(_need(files, "keys.txt"))]),
        entries=[_entry(files, number) for number in sorted(numbers)],
        has_report=any(name.startswith("report.") for name in files),
        policies={name.removeprefix("policies/"): content for name, content in files.items() if name.startswith("policies/")},
    )


def _limit_of(name: str) -> int | None:
    match = _NUMBERED.fullmatch(name)
    if match:
        return MAX_ENTRY if match[1] == "entries" else MAX_FILE
    policy = name.startswith("policies/") and bodies.HASH.fullmatch(name.removeprefix("policies/"))
    return MAX_FILE if policy or name in _SINGLE else None


def _named(name: str, read):
    try:
        return read()
    except Malformed as error:
        raise Malformed(f"`{name}`: {error}") from error


def _need(files: dict[str, bytes], name: str) -> bytes:
    if name not in files:
        raise Malformed("it is missing")
    return files[name]


def _lines(data: bytes) -> list[str]:
    try:
        return data.decode("utf-8").removesuffix("\n").split("\n") if data else []
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
    if selection is None or selection == "all":
        return {}
    if not isinstance(selection, dict) or len(selection) != 1:
        raise Malformed("`selection` is not what it must be")
    (what, of), = selection.items()
    good = len(of) == 2 and bodies.many(bodies.instant)(of) if what == "window" and isinstance(of, list) else bodies.text(of)
    if what not in ("instruction", "window", "call") or not good or (what == "window") != isinstance(of, list):
        raise Malformed("`selection` is not one that this version knows")
    return selection


def _entry(files: dict[str, bytes], number: int) -> Entry:
    name = f"entries/{number}.json"
    data = _named(name, lambda: _need(files, name))
    members = _named(name, lambda: _envelope(data))
    shown = f"disclosures/{number}.json"
    disclosures = _named(shown, lambda: _disclosures(files[shown])) if shown in files else {}
    proof_name = f"proofs/{number}.tlog-proof"
    proof = _named(proof_name, lambda: Proof.parse(files[proof_name])) if proof_name in files else None
    if members["seq"] != number:
        raise Malformed(f"`{name}`: the entry has another number than its file")
    return Entry(number, data, members, sha256(data).hexdigest(), proof, disclosures)


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
    return base64.urlsafe_b64encode(sha256(text.encode("ascii")).digest()).decode("ascii").rstrip("=")
