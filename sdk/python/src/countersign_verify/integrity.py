"""Chain, proofs and completeness: that these are the entries of the ledger, and that none is missing (docs/format.md §10)."""

from __future__ import annotations

from collections import Counter

from . import bodies, merkle
from .bundle import Bundle, Entry
from .findings import Malformed, Report
from .note import Checkpoint, Proof, VerifierKey

ZEROS = "0" * 64


def check(bundle: Bundle, keys: list[VerifierKey], report: Report) -> merkle.Nodes:
    """Checks each entry by itself and against its proof; gives the parts of the tree that are proven."""
    _chain(bundle, report)
    _first_entry(bundle, report)
    nodes = _proofs(bundle, keys, report)
    _completeness(bundle, report)
    return nodes


def _chain(bundle: Bundle, report: Report) -> None:
    hashes = {entry.seq: entry.hash for entry in bundle.entries}
    newest = ""
    for entry in bundle.entries:
        members = entry.members
        if members["seq"] != entry.seq or members["origin"] != bundle.origin:
            report.add("number-wrong", entry.seq, "the entry has another number than its file, or is of another ledger")
        before = ZEROS if entry.seq == 0 else hashes.get(entry.seq - 1)
        if before is not None and members["prev"] != before:
            report.add("chain-broken", entry.seq, "it does not follow from the entry before: one of the two was changed")
        if entry.time < newest:
            report.add("time-decreases", entry.seq, "its time is before that of an earlier entry")
        newest = max(newest, entry.time)


def _first_entry(bundle: Bundle, report: Report) -> None:
    first = bundle.entries[0] if bundle.entries else None
    named = None
    if first is not None and first.seq == 0 and first.kind == "ledger" and first.body.get("event") in ("created", "adopted"):
        named = first.body.get("vkey")
    if not isinstance(named, str) or named not in {_line(key) for key in bundle.keys}:
        report.add("first-entry", 0, "the first entry is missing, or it names another key than the bundle's")


def _line(key: VerifierKey) -> str:
    import base64

    return f"{key.name}+{key.key_id.hex()}+{base64.b64encode(bytes([1]) + key.public).decode('ascii')}"


def _proofs(bundle: Bundle, keys: list[VerifierKey], report: Report) -> merkle.Nodes:
    good: list[tuple[Entry, Checkpoint, list]] = []
    for entry in bundle.entries:
        why, checkpoint, met = _proven(entry, bundle.origin, keys)
        if why:
            report.add("not-proven", entry.seq, why)
        elif checkpoint is not None:
            good.append((entry, checkpoint, met))
    heads = Counter((checkpoint.size, checkpoint.root) for _, checkpoint, _ in good)
    report.counts.checkpoints = len(heads)
    nodes = merkle.Nodes()
    if not heads:
        return nodes
    main = (bundle.checkpoint.size, bundle.checkpoint.root)
    if main not in heads:
        main = max(heads)
    for entry, checkpoint, met in good:
        if (checkpoint.size, checkpoint.root) != main:
            what = f"its proof is under another checkpoint (size {checkpoint.size}) than that of others (size {main[0]})"
            report.add("checkpoints-apart", entry.seq, f"{what}: nothing shows that both are of one history")
            continue
        for level, place, value in met:
            nodes.put(level, place, value)
    return nodes


def _proven(entry: Entry, origin: str, keys: list[VerifierKey]) -> tuple[str | None, Checkpoint | None, list]:
    if entry.proof is None:
        return "the bundle has no proof of it", None, []
    try:
        proof = Proof.parse(entry.proof)
    except Malformed as error:
        return f"its proof cannot be read: {error}", None, []
    checkpoint = proof.checkpoint
    if checkpoint.origin != origin:
        return f"its proof is of the ledger `{checkpoint.origin}`", None, []
    if proof.index != entry.seq:
        return "its proof is of another entry", None, []
    if not checkpoint.signed_by(keys):
        return f"the checkpoint at size {checkpoint.size} is not signed with a key that counts", None, []
    climbed = merkle.climb(proof.index, checkpoint.size, merkle.leaf(entry.data), list(proof.path))
    if climbed is None or climbed[0] != checkpoint.root:
        return f"the proof does not lead from this entry to the root at size {checkpoint.size}: one of them was changed", None, []
    return None, checkpoint, climbed[1]


def _completeness(bundle: Bundle, report: Report) -> None:
    there = [entry.seq for entry in bundle.entries]
    if bundle.call is not None and bundle.instruction is None:
        report.add("entry-missing", None, f"the bundle claims to be about the call `{bundle.call}` but does not name its instruction")
    if bundle.instruction is not None and not any(entry.instruction == bundle.instruction for entry in bundle.entries):
        report.add("entry-missing", None, f"no entry of the instruction `{bundle.instruction}` is here")
    if bundle.whole:
        _holes(there, 0, bundle.checkpoint.size, report)
    if bundle.window is not None:
        begin, end = bundle.window
        inside = [entry.seq for entry in bundle.entries if begin <= entry.time <= end]
        if inside:
            _holes(inside, inside[0], inside[-1] + 1, report)


def _holes(there: list[int], begin: int, end: int, report: Report) -> None:
    """Reports each hole once, by its first number."""
    expected = begin
    for seq in [*there, end]:
        if seq > expected:
            last = f" to {seq - 1}" if seq - 1 > expected else ""
            report.add("entry-missing", expected, f"entry {expected}{last} is missing")
        expected = max(expected, seq + 1)


def parents(bundle: Bundle, report: Report) -> None:
    """Every entry that one of the selection rests on must be there; in a window it may lie before it."""
    if bundle.window is not None:
        return
    there: set[str] = set()
    for entry in bundle.entries:
        for parent in entry.members["parents"]:
            if parent not in there and (bundle.whole or entry.instruction is not None):
                report.add("parent-missing", entry.seq, f"it rests on the entry `{parent}`, which was left out")
        there.add(entry.hash)


def bodies_of(bundle: Bundle, report: Report) -> list[Entry]:
    """The entries whose body is that of their kind; the others are reported and not looked at further."""
    sound = []
    for entry in bundle.entries:
        wrong = bodies.body_misfit(entry.kind, entry.body)
        if wrong is None:
            sound.append(entry)
        else:
            report.add("body-malformed", entry.seq, f"the body is not that of kind `{entry.kind}`: `{wrong}` is missing or not what it must be")
    return sound
