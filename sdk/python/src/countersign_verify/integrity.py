"""Chain, proofs and completeness: that these are the entries of the ledger, and that none is missing (docs/format.md §10)."""

from __future__ import annotations

from . import bodies, merkle
from .bundle import Bundle, Entry
from .findings import Report
from .note import Checkpoint, VerifierKey
from .rotation import LedgerKeys


def head_of(bundle: Bundle) -> Checkpoint | None:
    """The largest checkpoint among the proofs', the last one of equals: what all entries must be proven under."""
    heads = [entry.proof.checkpoint for entry in reversed(bundle.entries) if entry.proof is not None]
    return max(heads, key=lambda checkpoint: checkpoint.size, default=None)


def check(bundle: Bundle, named: LedgerKeys, keys: list[VerifierKey], report: Report) -> None:
    """Checks each entry by itself, against its proof, and what must be there."""
    _chain(bundle, report)
    _first_entry(bundle, named, report)
    _proofs(bundle, keys, report)
    _own_checkpoint(bundle, keys, report)
    _parents(bundle, report)
    _completeness(bundle, report)


def _chain(bundle: Bundle, report: Report) -> None:
    before: Entry | None = None
    for entry in bundle.entries:
        if entry.members["origin"] != bundle.origin:
            report.add("number-wrong", entry.seq, "the entry is of another ledger")
        if before is not None and before.seq + 1 == entry.seq and entry.members["prev"] != before.hash:
            report.add("chain-broken", entry.seq, "it does not follow from the entry before: one of the two was changed")
        if before is not None and entry.time < before.time:
            report.add("time-decreases", entry.seq, "its time is before that of an earlier entry")
        before = entry


def _first_entry(bundle: Bundle, named: LedgerKeys, report: Report) -> None:
    first = bundle.entries[0] if bundle.entries and bundle.entries[0].seq == 0 else None
    vkey = first.body.get("vkey") if first is not None else None
    if not isinstance(vkey, str) or not all(named.names(key) for key in bundle.keys):
        report.add("first-entry", 0, "the first entry is missing, or no entry names the bundle's key")


def _proofs(bundle: Bundle, keys: list[VerifierKey], report: Report) -> None:
    head = head_of(bundle)
    for entry in bundle.entries:
        why = _not_proven(entry, bundle.origin, keys)
        if why is not None:
            report.add("not-proven", entry.seq, why)
        else:
            report.counts.checkpoints = 1
        own = entry.proof.checkpoint if entry.proof is not None else None
        if own is not None and head is not None and (own.size, own.root) != (head.size, head.root):
            what = f"its proof is under another checkpoint (size {own.size}) than that of others (size {head.size})"
            report.add("checkpoints-apart", entry.seq, f"{what}: nothing shows that both are of one history")


def root_at(bundle: Bundle, size: int) -> bytes | None:
    """The root over the first `size` entries: the head's, or from the entries if all of them are there."""
    head = head_of(bundle)
    return head.root if head is not None and head.size == size else prefix_root(bundle, size)


def prefix_root(bundle: Bundle, size: int) -> bytes | None:
    first = bundle.entries[:size] if size <= len(bundle.entries) else []
    if not first or first[-1].seq != size - 1:
        return None
    return merkle.root([merkle.leaf(entry.data) for entry in first])


def prefix_roots(bundle: Bundle) -> dict[int, bytes]:
    """All roots over first entries, as far as all of them are there: one walk, however many are asked for."""
    roots: dict[int, bytes] = {}
    edge: list[tuple[int, bytes]] = []
    for expected, entry in enumerate(bundle.entries):
        if entry.seq != expected:
            break
        height, node = 0, merkle.leaf(entry.data)
        while edge and edge[-1][0] == height:
            height, node = height + 1, merkle.node(edge.pop()[1], node)
        edge.append((height, node))
        root = edge[-1][1]
        for _, left in reversed(edge[:-1]):
            root = merkle.node(left, root)
        roots[expected + 1] = root
    return roots


def _own_checkpoint(bundle: Bundle, keys: list[VerifierKey], report: Report) -> None:
    """`checkpoint.txt` is what people and other tools take from a bundle: it must be of the history that the proofs are of."""
    own, head = bundle.checkpoint, head_of(bundle)
    if own is None:
        return
    if own.origin != bundle.origin:
        report.add("checkpoint-origin", None, f"`checkpoint.txt` is of the ledger `{own.origin}`")
        return
    if not own.signed_by(keys):
        report.add("checkpoint-signature", None, "`checkpoint.txt` is not signed with a key that counts")
    root = root_at(bundle, own.size)
    if root is not None and root != own.root:
        report.add("checkpoint-root", None, f"`checkpoint.txt` has another root than the entries before number {own.size}")
    if bundle.whole and head is not None and head.size < own.size:
        report.add("checkpoint-beyond", None, f"`checkpoint.txt` covers {own.size} entries, more than are here")


def _not_proven(entry: Entry, origin: str, keys: list[VerifierKey]) -> str | None:
    if entry.proof is None:
        return "the bundle has no proof of it"
    checkpoint = entry.proof.checkpoint
    if entry.proof.index != entry.seq:
        return "its proof is of another entry"
    if checkpoint.origin != origin:
        return f"its proof is of the ledger `{checkpoint.origin}`"
    if not checkpoint.signed_by(keys):
        return f"the checkpoint at size {checkpoint.size} is not signed with a key that counts"
    if not leads(entry, entry.proof.index, entry.proof.path, checkpoint):
        return f"the proof does not lead from this entry to the root at size {checkpoint.size}: one of them was changed"
    return None


def leads(entry: Entry, index: int, path: tuple[bytes, ...], checkpoint: Checkpoint) -> bool:
    """Whether an audit path leads from the entry to the checkpoint's root."""
    return merkle.climb(index, checkpoint.size, merkle.leaf(entry.data), path) == checkpoint.root


def _parents(bundle: Bundle, report: Report) -> None:
    """What an entry rests on must be there: in a whole ledger before it, in a part at all, in a window it may lie outside."""
    if bundle.window is not None:
        return
    there = {entry.hash for entry in bundle.entries} if not bundle.whole else set()
    for entry in bundle.entries:
        # In a part, a follow-up's parent is the instruction that it amends: a part of its own.
        alone = not bundle.whole and (entry.instruction is None or entry.kind == "instruction")
        for parent in entry.members["parents"]:
            if parent not in there and not alone:
                report.add("parent-missing", entry.seq, f"it rests on the entry `{parent}`, which was left out")
        there.add(entry.hash)


def _completeness(bundle: Bundle, report: Report) -> None:
    there = [entry.seq for entry in bundle.entries]
    if bundle.call is not None:
        report.add("entry-missing", None, f"the bundle claims to be about the call `{bundle.call}` but does not name its instruction")
    if bundle.instruction is not None and not any(entry.instruction == bundle.instruction for entry in bundle.entries):
        report.add("entry-missing", None, f"no entry of the instruction `{bundle.instruction}` is here")
    if bundle.whole:
        head = head_of(bundle)
        _holes(there, 0, head.size if head is not None else 0, report)
    if bundle.window is not None:
        begin, end = bundle.window
        inside = [entry.seq for entry in bundle.entries if begin <= entry.time < end]
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


def sound(bundle: Bundle, report: Report) -> set[int]:
    """The entries whose body is that of their kind; the others are reported."""
    good = set()
    for entry in bundle.entries:
        wrong = bodies.body_misfit(entry.kind, entry.body)
        if wrong is None:
            good.add(entry.seq)
        else:
            report.add("body-malformed", entry.seq, f"the body is not that of kind `{entry.kind}`: `{wrong}` is missing or not what it must be")
    return good
