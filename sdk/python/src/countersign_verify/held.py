"""What somebody outside the operator kept, against the bundle (docs/verify.md)."""

from __future__ import annotations

from dataclasses import dataclass

from . import strict_json
from .bundle import Bundle
from .findings import Malformed, Report
from .integrity import leads, root_at
from .note import Checkpoint, Proof, VerifierKey
from .receipts import Signed


@dataclass(frozen=True)
class Held:
    """A checkpoint, a proof, or the checkpoint that a receipt countersigns."""

    checkpoint: Checkpoint
    proof: Proof | None = None


def parse(data: bytes) -> Held:
    """Reads what was kept; the form tells what it is."""
    if data.startswith(b"c2sp.org/"):
        proof = Proof.parse(data)
        return Held(proof.checkpoint, proof)
    if data.lstrip().startswith(b"{"):
        checkpoint = Signed(strict_json.parse(data)).checkpoint
        if checkpoint is None:
            raise Malformed("the receipt covers no `countersign-checkpoint`")
        return Held(checkpoint)
    return Held(Checkpoint.parse(data))


def compare(held: Held, bundle: Bundle, keys: list[VerifierKey], report: Report) -> bool:
    """Compares one thing that was kept with the bundle; gives whether it could be compared."""
    checkpoint = held.checkpoint
    if checkpoint.origin != bundle.origin:
        report.add("held-origin", None, "what was held outside is of another ledger")
        return True
    if not checkpoint.signed_by(keys):
        report.add("held-signature", None, "what was held outside is not signed with this ledger's key: the ledger was signed anew, or that is none of it")
    compared = held.proof is not None and _proof(held.proof, bundle, report)
    root = root_at(bundle, checkpoint.size)
    if root is not None and root != checkpoint.root:
        report.add("forked", None, f"the entries before number {checkpoint.size} are not those that a checkpoint held outside covers: the ledger was forked or written anew")
    if root is None and not compared:
        report.notes.append(
            f"what was held outside (size {checkpoint.size}) cannot be compared with this bundle: only the whole ledger, "
            "or a bundle with that entry, shows whether both are of one history"
        )
    return compared or root is not None


def _proof(proof: Proof, bundle: Bundle, report: Report) -> bool:
    for entry in bundle.entries:
        if entry.seq == proof.index:
            if not leads(entry, proof.index, proof.path, proof.checkpoint):
                report.add("proof-differs", entry.seq, "the entry is not the one that a proof held outside proves")
            return True
    return False
