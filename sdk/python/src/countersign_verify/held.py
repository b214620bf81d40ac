"""What somebody outside the operator kept, against the bundle (docs/verify.md)."""

from __future__ import annotations

from dataclasses import dataclass

from . import merkle, strict_json
from .bundle import Bundle
from .findings import Malformed, Report
from .note import Checkpoint, Proof, VerifierKey
from .values import ReceiptBase


@dataclass(frozen=True)
class Held:
    """A checkpoint, a proof, or the checkpoint that a receipt countersigns."""

    checkpoint: Checkpoint
    proof: Proof | None = None


def parse(data: bytes) -> Held:
    """Reads what was kept; the form tells what it is."""
    if data.startswith(b"c2sp.org/tlog-proof"):
        proof = Proof.parse(data)
        return Held(proof.checkpoint, proof)
    if data.lstrip().startswith(b"{"):
        receipt = strict_json.parse(data)
        if not isinstance(receipt.get("base"), str):
            raise Malformed("not a receipt: it has no `base`")
        checkpoint = ReceiptBase(receipt["base"]).checkpoint()
        if checkpoint is None:
            raise Malformed("a receipt that countersigns no checkpoint")
        return Held(checkpoint)
    return Held(Checkpoint.parse(data))


def compare(held: Held, bundle: Bundle, keys: list[VerifierKey], nodes: merkle.Nodes, report: Report) -> None:
    """Compares one thing that was kept with the bundle."""
    checkpoint = held.checkpoint
    if checkpoint.origin != bundle.origin:
        report.add("held-origin", None, "what was held outside is of another ledger")
        return
    if not checkpoint.signed_by(keys):
        report.add("held-signature", None, "what was held outside is not signed with this ledger's key: the ledger was signed anew, or that is none of it")
        return
    same_history(checkpoint, bundle, nodes, report)
    if held.proof is not None:
        _proof(held.proof, bundle, report)


def same_history(checkpoint: Checkpoint, bundle: Bundle, nodes: merkle.Nodes, report: Report) -> None:
    if checkpoint.size > bundle.checkpoint.size:
        report.add("truncated", None, f"a checkpoint held outside covers {checkpoint.size} entries, the bundle's {bundle.checkpoint.size}")
        return
    root = bundle.checkpoint.root if checkpoint.size == bundle.checkpoint.size else nodes.root(checkpoint.size)
    if root is None:
        report.notes.append(f"the checkpoint of size {checkpoint.size} that was held outside cannot be compared: the bundle has too few entries for it")
    elif root != checkpoint.root:
        report.add("forked", None, f"the first {checkpoint.size} entries are not those that a checkpoint held outside covers: the ledger was forked or written anew")


def _proof(proof: Proof, bundle: Bundle, report: Report) -> None:
    for entry in bundle.entries:
        if entry.seq == proof.index:
            climbed = merkle.climb(proof.index, proof.checkpoint.size, merkle.leaf(entry.data), list(proof.path))
            if climbed is None or climbed[0] != proof.checkpoint.root:
                report.add("proof-differs", entry.seq, "the entry is not the one that a proof held outside proves")
