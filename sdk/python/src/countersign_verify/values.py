"""Values against commitments, statements against keys, receipts against both (docs/format.md §2, §6 and §10)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from .bundle import Bundle, Entry
from .findings import Malformed, Report
from .keys import INVALID, UNKNOWN_KEY, VALID, Keyring, Statement, check_statement
from .note import Checkpoint, base64_exact

TYPES = {
    "instruction": "countersign-instruction+jwt",
    "decision": "countersign-decision+jwt",
    "answer": "countersign-answer+jwt",
    "approval": "countersign-approval+jwt",
}
# What a statement says, and where the entry records it: in the ledger, in its body, or as a disclosed value.
SAYS = {
    "instruction": (("origin",), (), ("principal", "words")),
    "decision": ((), ("grant", "action", "n", "model"), ("arguments", "reason")),
    "answer": ((), ("grant", "n", "decisions"), ("text",)),
    "approval": (("origin",), ("call", "decision"), ("digest",)),
}


def check_values(entry: Entry, erased: set[str], report: Report) -> None:
    """Each value that the bundle shows against the digest that the entry commits to."""
    subject = entry.body.get("subject")
    lost = undone = False
    for name, found in entry.disclosures.items():
        if found.state == "withheld":
            continue
        if found.state == "erased":
            report.counts.erased += 1
            lost = lost or subject not in erased
        elif found.name != name or found.digest != entry.sd.get(name):
            report.add("value-differs", entry.seq, f"the value of `{name}` is not the one that the entry commits to")
        else:
            report.counts.commitments += 1
            undone = undone or subject in erased
    for name in entry.sd:
        if entry.disclosures and name not in entry.disclosures:
            report.add("value-missing", entry.seq, f"the bundle says nothing of `{name}`, to which the entry commits")
    if lost:
        report.add("key-lost", entry.seq, "values are said to be erased, but no entry erased their subject")
    if undone:
        report.add("erasure-undone", entry.seq, "a value opens though its subject was erased")


def check_statement_of(entry: Entry, keys: Keyring, report: Report) -> None:
    """The party's own statement, where it is shown, against the recorded check and against the entry."""
    statement = entry.shown("statement")
    if entry.kind not in TYPES or statement is None:
        return
    report.counts.statements += 1
    found = check_statement(statement, TYPES[entry.kind], keys)
    recorded = entry.body.get("check")
    if recorded is None or recorded["result"] != found.result:
        said = f"`{recorded['result']}`" if recorded else "not at all"
        report.add("statement-differs", entry.seq, f"the gateway recorded the signature as {said}, it is `{found.result}`")
    elif found.result == VALID and recorded.get("party") != found.party:
        report.add("statement-party", entry.seq, "the key was registered for another party than the one recorded")
    if found.result == VALID:
        for name in _other(entry, found):
            report.add("statement-says-other", entry.seq, f"the party signed another `{name}` than the entry records")


def _other(entry: Entry, found: Statement) -> list[str]:
    of_ledger, of_body, of_values = SAYS[entry.kind]
    recorded: dict[str, Any] = {name: entry.members[name] for name in of_ledger}
    recorded |= {name: entry.body.get(name) for name in of_body}
    recorded |= {name: entry.shown(name) for name in of_values}
    return [name for name, value in recorded.items() if value is not None and name in found.payload and found.payload[name] != value]


class ReceiptBase:
    """A signature base (RFC 9421 §2.5): its components, and the parameters of the signature."""

    def __init__(self, base: str) -> None:
        self.lines: dict[str, str] = {}
        *lines, last = base.split("\n")
        for line in lines:
            name, colon, value = line.partition(": ")
            if not colon or not name.startswith('"') or name in self.lines:
                raise Malformed("not a signature base: a line without a component")
            self.lines[name] = value
        name, colon, self.params = last.partition(": ")
        if name != '"@signature-params"' or not colon:
            raise Malformed("not a signature base: it does not end with its parameters")
        kid = re.search(r';keyid="([^"\\]*)"', self.params)
        if not kid:
            raise Malformed("not a signature base: no `keyid`")
        self.kid = kid[1]

    def get(self, component: str) -> str | None:
        return self.lines.get(component)

    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint that it countersigns."""
        text = self.get('"countersign-checkpoint";req')
        if text is None or len(text) < 2 or text[0] != ":" or text[-1] != ":":
            return None
        try:
            return Checkpoint.parse(base64_exact(text[1:-1]))
        except Malformed:
            return None


def check_receipt(entry: Entry, keys: Keyring, report: Report) -> Checkpoint | None:
    """A receipt that is shown against the recorded check and the entry; gives the checkpoint that it countersigns."""
    shown = entry.shown("receipt")
    if shown is None:
        return None
    report.counts.statements += 1
    result, base = _receipt_result(shown, entry.body["api"], keys)
    recorded = entry.body["check"]["result"]
    if recorded != result:
        report.add("statement-differs", entry.seq, f"the gateway recorded the receipt's signature as `{recorded}`, it is `{result}`")
    if result != VALID or base is None:
        return None
    for what, component, value in (
        ("call", '"countersign-entry";req', entry.body["call"]),
        ("status", '"@status"', _plain(shown.get("status"))),
    ):
        signed = base.get(component)
        if signed is not None and value is not None and signed != value:
            report.add("receipt-differs", entry.seq, f"the API signed another {what} than the entry records")
    return base.checkpoint()


def _plain(value: Any) -> str | None:
    return None if value is None else str(value)


def _receipt_result(shown: Any, api: str, keys: Keyring) -> tuple[str, ReceiptBase | None]:
    signature = shown.get("signature") if isinstance(shown, dict) else None
    if not isinstance(signature, dict) or not isinstance(signature.get("base"), str) or not isinstance(signature.get("value"), str):
        return INVALID, None
    try:
        base = ReceiptBase(signature["base"])
    except Malformed:
        return INVALID, None
    found = keys.find(base.kid)
    if found is None or found[0] != api:
        return UNKNOWN_KEY, base
    try:
        value = base64.b64decode(signature["value"], validate=True)
    except (binascii.Error, ValueError):
        return INVALID, base
    good = found[1].verifies(signature["base"].encode("utf-8"), value)
    return (VALID if good else INVALID), base


def erased_subjects(bundle: Bundle) -> set[str]:
    """The data subjects that some entry erased."""
    return {entry.body["subject"] for entry in bundle.entries if entry.kind == "erasure" and isinstance(entry.body.get("subject"), str)}
