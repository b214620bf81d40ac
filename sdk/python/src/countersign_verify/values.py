"""Values against commitments, statements and receipts against keys (docs/format.md §2, §6 and §10)."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from .bodies import CHECK, body_misfit, instant, milliseconds_between
from .bundle import Entry
from .findings import Malformed, Report
from .keys import INVALID, UNKNOWN_KEY, VALID, Keyring, Registered, Statement, read_statement
from .passkey import Assertion, canonical, is_cloned
from .receipts import Signed
from .strict_json import same

TYPES = {
    "instruction": "countersign-instruction",
    "grant": "countersign-consent",
    "delegation": "countersign-delegation",
    "settlement": "countersign-settlement",
    "decision": "countersign-decision",
    "answer": "countersign-answer",
    "approval": "countersign-approval",
}
# What a passkey may sign.
BY_PASSKEY = ("instruction", "approval")
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
    check = entry.body.get("check")
    if not entry.has("statement") or not CHECK(check):
        return
    report.counts.statements += 1
    stated, by = read_statement(entry.shown("statement")), keys.find(check["kid"])
    if stated is not None and stated.kid != check["kid"]:
        stated = None
    result = _result(stated, by, lambda: stated.signed_by(by))
    if result != check["result"]:
        report.add("statement-differs", entry.seq, f"the gateway recorded the signature as `{check['result']}`, it is `{result}`")
    elif result == VALID and check.get("party") != by.party:
        report.add("statement-party", entry.seq, "the key was registered for another party than the one recorded")
    elif result == VALID:
        what = _says_other(entry, stated, by.party)
        if what is not None:
            report.add("statement-says-other", entry.seq, f"the party signed another `{what}` than the entry records")
        elif isinstance(stated, Assertion):
            _follow_counter(entry, stated, by, report)


def _result(signed: Any, by: Registered | None, fits: Callable[[], bool]) -> str:
    if signed is None:
        return INVALID
    if by is None:
        return UNKNOWN_KEY
    return VALID if fits() else INVALID


def _follow_counter(entry: Entry, assertion: Assertion, by: Registered, report: Report) -> None:
    counter = assertion.counter or 0
    if is_cloned(by.counter, counter):
        report.add("passkey-counter", entry.seq, f"the passkey's counter is {counter} after {by.counter}: there are two copies of it")
    else:
        by.counter = counter


def _says_other(entry: Entry, stated: Statement | Assertion, party: str) -> str | None:
    form = "passkey" if isinstance(stated, Assertion) else "jwt"
    if form == "passkey" and entry.kind not in BY_PASSKEY:
        return "form"
    if entry.kind in TYPES and stated.typ != f"{TYPES[entry.kind]}+{form}":
        return "typ"
    said = stated.payload if isinstance(stated.payload, dict) else {}
    if entry.kind in ("decision", "answer"):
        for name in COUNTS:
            if name in said and not same(said[name], entry.body.get(name)):
                return name
    if entry.kind == "settlement" and said.get("executed") is not entry.body.get("executed"):
        return "executed"
    for name in TEXTS:
        recorded = entry.members["origin"] if name == "origin" else entry.body.get(name)
        if isinstance(said.get(name), str) and isinstance(recorded, str) and said[name] != recorded:
            return name
    for name in VALUES:
        if name in said and entry.has(name) and not same(said[name], entry.shown(name)):
            return name
    if entry.kind == "approval" and body_misfit(entry.kind, entry.body) is None:
        return _approved_other(entry, said, party)
    return None


def _approved_other(entry: Entry, said: dict, party: str) -> str | None:
    """In what an approval's entry says something else than its approver signed."""
    body = entry.body
    times = {name: said.get(name) if instant(said.get(name)) else None for name in ("shown", "answered", "expires")}
    took = milliseconds_between(times["shown"], times["answered"]) if times["shown"] and times["answered"] else None
    if body["approver"] != party:
        return "approver"
    if times["shown"] != body.get("shown"):
        return "shown"
    if (took if took is not None and took >= 0 else None) != body.get("took_ms"):
        return "answered"
    if times["expires"] and body.get("expires") and body["expires"] > times["expires"]:
        return "expires"
    if isinstance(said.get("policies"), list) and said["policies"] != body.get("policies", []):
        return "policies"
    if isinstance(said.get("shown_sha256"), str) and entry.has("shown"):
        return None if said["shown_sha256"] == _sha256(entry.shown("shown")) else "shown_sha256"
    return None


def _sha256(value: Any) -> str | None:
    try:
        return sha256(canonical(value)).hexdigest()
    except Malformed:
        return None


def check_receipt(entry: Entry, keys: Keyring, root_over: Callable[[int], bytes | None], report: Report) -> None:
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
    by = keys.signer(check["kid"])
    if by is not None and by.party != body["api"]:
        by = None
    result = _result(signed, by, lambda: signed.fits(by.key))
    if result != check["result"]:
        report.add("statement-differs", entry.seq, f"the gateway recorded the receipt's signature as `{check['result']}`, it is `{result}`")
    elif result == VALID:
        what = _receipt_differs(body, shown, signed)
        if what is not None:
            report.add("receipt-differs", entry.seq, f"the API signed another {what} than the entry records")
            return
        countersigned = signed.checkpoint
        root = root_over(countersigned.size) if countersigned is not None else None
        if root is not None and root != countersigned.root:
            report.add("receipt-checkpoint", entry.seq, "the API countersigned a checkpoint that this ledger does not have: it was forked or written anew")


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
