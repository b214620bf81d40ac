"""Values against commitments, statements and receipts against keys (docs/format.md §2, §6 and §10)."""

from __future__ import annotations

from typing import Any

from .bodies import CHECK
from .bundle import Entry
from .findings import Malformed, Report
from .keys import INVALID, UNKNOWN_KEY, VALID, Keyring, PublicKey, Statement
from .receipts import Signed
from .strict_json import same

TYPES = {
    "instruction": "countersign-instruction+jwt",
    "grant": "countersign-consent+jwt",
    "delegation": "countersign-delegation+jwt",
    "settlement": "countersign-settlement+jwt",
    "decision": "countersign-decision+jwt",
    "answer": "countersign-answer+jwt",
    "approval": "countersign-approval+jwt",
}
# What a statement and its entry must say alike: texts of the entry, counts of an agent, disclosed values.
TEXTS = ("origin", "call", "decision", "action", "from")
COUNTS = ("n", "decisions")
VALUES = ("arguments", "digest", "principal", "reason", "text", "words")


class Values:
    """What was shown so far, by data subject."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._opened: dict[str, int] = {}
        self._without_key: dict[str, int] = {}

    def check(self, entry: Entry) -> None:
        """Each value that the bundle shows against the digest that the entry commits to."""
        subject = entry.body.get("subject")
        subject = subject if isinstance(subject, str) else ""
        for name, found in entry.disclosures.items():
            if found.state == "erased":
                self.report.counts.erased += 1
                self._without_key.setdefault(subject, entry.seq)
            elif found.state == "shown" and (found.name != name or found.digest != entry.sd.get(name)):
                self.report.add("value-differs", entry.seq, f"the value of `{name}` is not the one that the entry commits to")
            elif found.state == "shown":
                self.report.counts.commitments += 1
                self._opened.setdefault(subject, entry.seq)

    def finish(self, erased: set[str]) -> None:
        """What is erased must not open, and what does not open must be erased: told once for each subject."""
        for subject, seq in self._opened.items():
            if subject in erased:
                self.report.add("erasure-undone", seq, "a value opens though its subject was erased")
        for subject, seq in self._without_key.items():
            if subject not in erased:
                self.report.add("key-lost", seq, "values are said to be erased, but no entry erased their subject")


def check_statement(entry: Entry, keys: Keyring, report: Report) -> None:
    """The party's own statement, where it is shown, against the recorded check and against the entry."""
    shown, check = entry.shown("statement"), entry.body.get("check")
    if not isinstance(shown, str) or not CHECK(check):
        return
    report.counts.statements += 1
    statement, found = Statement.parse(shown), keys.find(check["kid"])
    if statement is not None and statement.kid != check["kid"]:
        statement = None
    result = _result(statement, found, lambda key: statement.signed_with(key))
    if result != check["result"]:
        report.add("statement-differs", entry.seq, f"the gateway recorded the signature as `{check['result']}`, it is `{result}`")
    elif result == VALID and check.get("party") != found[0]:
        report.add("statement-party", entry.seq, "the key was registered for another party than the one recorded")
    elif result == VALID:
        what = _says_other(entry, statement)
        if what is not None:
            report.add("statement-says-other", entry.seq, f"the party signed another `{what}` than the entry records")


def _result(signed: Any, found: tuple[str, PublicKey] | None, fits) -> str:
    if signed is None:
        return INVALID
    if found is None:
        return UNKNOWN_KEY
    return VALID if fits(found[1]) else INVALID


def _says_other(entry: Entry, statement: Statement) -> str | None:
    if entry.kind in TYPES and statement.typ != TYPES[entry.kind]:
        return "typ"
    said = statement.payload if isinstance(statement.payload, dict) else {}
    if entry.kind in ("decision", "answer"):
        for name in COUNTS:
            if name in said and not same(said[name], entry.body.get(name)):
                return name
    for name in TEXTS:
        recorded = entry.members["origin"] if name == "origin" else entry.body.get(name)
        if isinstance(said.get(name), str) and isinstance(recorded, str) and said[name] != recorded:
            return name
    for name in VALUES:
        if name in said and entry.has(name) and not same(said[name], entry.shown(name)):
            return name
    return None


def check_receipt(entry: Entry, keys: Keyring, report: Report) -> None:
    """A receipt that is shown against the recorded check and the entry."""
    if not entry.has("receipt"):
        return
    report.counts.statements += 1
    body, shown = entry.body, entry.shown("receipt")
    check = body["check"]
    try:
        signed = Signed(shown.get("signature") if isinstance(shown, dict) else None)
    except Malformed:
        signed = None
    if signed is not None and signed.kid != check["kid"]:
        signed = None
    found = keys.find(check["kid"])
    if found is not None and found[0] != body["api"]:
        found = None
    result = _result(signed, found, lambda key: signed.fits(key))
    if result != check["result"]:
        report.add("statement-differs", entry.seq, f"the gateway recorded the receipt's signature as `{check['result']}`, it is `{result}`")
    elif result == VALID:
        what = _receipt_differs(body, shown, signed)
        if what is not None:
            report.add("receipt-differs", entry.seq, f"the API signed another {what} than the entry records")


def _receipt_differs(body: dict, shown: dict, signed: Signed) -> str | None:
    differs = body.get("differs") or []
    if signed.entry != body["call"] and "request" not in differs and "unsigned" not in differs:
        return "call"
    status, digest = shown.get("status"), shown.get("content_digest")
    if (status if type(status) is int else None) != signed.status:
        return "status"
    if (digest if isinstance(digest, str) else None) != signed.content_sha256:
        return "content"
    return None
