"""What the gateway did, judged by the entries alone: grants, approvals, counters, keys, erasures (docs/format.md §10)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from . import integrity, values
from .bodies import seconds_between
from .bundle import Bundle, Entry
from .counted import Counted
from .narrower import Disclosed
from .possessed import Possessed
from .settled import Unsettled
from .findings import Report
from .grants import MESSAGE, Grants, asks, is_over, is_plumbing
from .keys import Keyring, Statement
from .values import Values

ERASURE = "countersign-erasure+jwt"
# How long a call may stay open, in seconds.
OPEN = 24 * 3600


@dataclass
class Held:
    """A held call, and the approvals of it so far."""

    entry: Entry
    yes: list[Entry]

    def answer(self, approval: Entry) -> tuple[str, str] | None:
        """Takes an answer; says what is wrong with one that does not count."""
        body, call = approval.body, self.entry.body
        if approval.instruction != self.entry.instruction:
            return "approval-of-other", "it answers a held call of another instruction"
        if call.get("agent") == body["approver"]:
            return "approval-by-agent", "the agent itself answers its held call"
        if body.get("policies") and body["policies"] != call["policies"]:
            return "approval-policies", "the approver signed other policies than the held call was judged by"
        if any(yes.body["approver"] == body["approver"] for yes in self.yes):
            return "approval-twice", "the approver had said yes to this call before"
        self.yes.append(approval)
        return None

    @property
    def needs(self) -> int:
        return max(self.entry.body.get("needs") or 1, 1)

    def wrong_with(self, call: Entry) -> tuple[str, str] | None:
        """Why the approvals do not cover a call."""
        same = all(call.body.get(name) == self.entry.body.get(name) for name in ("agent", "upstream", "action"))
        if call.instruction != self.entry.instruction or not same:
            return "approval-of-other", "it rests on the approval of another call"
        if self.needs > 1 and call.body.get("approvals", []) != [yes.hash for yes in self.yes]:
            return "approval-short", "it does not name all approvals that it needed, in their order"
        if any(is_over(yes.body.get("expires"), call.time) for yes in self.yes):
            return "approval-expired", "it rests on an approval that held no longer"
        return None


class Conduct:
    """Walks through the entries in order; each kind has its method."""

    def __init__(self, bundle: Bundle, report: Report) -> None:
        self.bundle = bundle
        self.report = report
        self.keys = Keyring()
        self._in_window = bundle.window is not None
        self._values = Values(report)
        self._counted = Counted()
        self._policies: set[str] = set()
        self._grants = Grants(self._in_window)
        self._unsettled = Unsettled()
        self._disclosed = Disclosed()
        self._possessed = Possessed()
        self._held: dict[str, Held] = {}
        self._approvals: dict[str, Held] = {}
        self._digests: dict[str, str] = {}
        self._open: dict[str, Entry] = {}
        self._ended: set[str] = set()
        self._receipts: set[str] = set()
        self._roots: dict[int, bytes] | None = None
        self._receipted: dict[str, int] = {}
        self._next_n: dict[str, int] = {}
        self._next_at: dict[str, int] = {}
        self._holds: dict[str, str] = {}
        self._erased: set[str] = set()
        self._kinds: dict[str, Callable[[Entry], None]] = {
            "policy": self._policy,
            "key": self._key,
            "grant": self._grants.grant,
            "delegation": self._delegation,
            "revocation": self._grants.revoke,
            "settlement": self._settlement,
            "decision": self._decision,
            "answer": self._answer,
            "approval": self._approval,
            "call": self._call,
            "outcome": self._outcome,
            "receipt": self._receipt,
            "hold": self._hold,
            "erasure": self._erasure,
            "heartbeat": self._heartbeat,
        }

    def walk(self, sound: set[int]) -> None:
        """All entries, in order; then what shows only at the end. `sound`: those whose body is that of their kind."""
        for entry in self.bundle.entries:
            self._count(entry)
            if entry.seq in sound and entry.kind in self._kinds:
                self._kinds[entry.kind](entry)
            self._shown(entry)
            if entry.seq in sound and entry.kind == "receipt":
                values.check_receipt(entry, self.keys, self._root_over, self.report)
            if entry.kind in ("grant", "delegation"):
                self._possessed.bind(entry)
            if entry.seq in sound and entry.kind == "call":
                self._request(entry)
                self._proof(entry)
        self._end()

    def _add(self, code: str, entry: Entry, what: str) -> None:
        self.report.add(code, entry.seq, what)

    # Values

    def _shown(self, entry: Entry) -> None:
        self._values.check(entry)
        values.check_statement(entry, self.keys, self.report)
        self._digest(entry)
        wider = self._disclosed.follow(entry)
        if wider is not None:
            self._add("delegation-wider", entry, wider)

    def _proof(self, entry: Entry) -> None:
        shows, wrong = self._possessed.check(entry)
        self.report.counts.statements += shows
        if wrong is not None:
            self._add(wrong[0], entry, wrong[1])

    def _request(self, entry: Entry) -> None:
        """What passed without being in the grant must have been no action, where its request is disclosed."""
        request = entry.shown("request")
        request = request if isinstance(request, dict) else {}
        method, target = request.get("method"), request.get("target")
        if not isinstance(method, str):
            return
        if is_plumbing(entry.body) and method != MESSAGE:
            self._add("not-plumbing", entry, f"it passed as a message of the protocol, but its request is `{method}`")
        question = asks(entry.body)
        if question is not None and isinstance(target, str):
            path = target.partition("?")[0]
            if method != question[0] or path not in question[1]:
                self._add("not-asking", entry, f"it passed as a question to a model, but its request is `{method} {path}`")

    def _digest(self, entry: Entry) -> None:
        """A held call, the answer to it and the call made after it must be about the same digest, where it is disclosed."""
        digest = entry.shown("digest")
        if not isinstance(digest, str) or entry.kind not in ("approval", "call"):
            return
        about = entry.body.get("call" if entry.kind == "approval" else "approval")
        other = self._digests.get(about) if isinstance(about, str) else None
        if other is not None and other != digest:
            self._add("approval-digest", entry, "what was approved is not what was held, or not what was then called: their digests differ")
        if entry.kind == "approval" or entry.body.get("verdict") == "hold":
            self._digests[entry.hash] = digest

    # Counters

    def _count(self, entry: Entry) -> None:
        instruction, n = entry.instruction, entry.members.get("n")
        if instruction is None or n is None:
            if instruction is not None or n is not None:
                self._add("counter-gap", entry, "an entry of an instruction has a number in it, any other has none")
            return
        expected = self._next_n.get(instruction, 0)
        if n != expected and not (self._in_window and expected == 0):
            self._add("counter-gap", entry, f"it is number n={n} of the instruction `{instruction}`, n={expected} was expected")
        self._next_n[instruction] = n + 1

    def _heartbeat(self, entry: Entry) -> None:
        for row in entry.body["closed"]:
            instruction, total = row["instruction"], row["entries"]
            there = self._next_n.get(instruction, 0)
            # A part says nothing of instructions that it is not about.
            if there < total and (self.bundle.whole or (not self._in_window and there > 0)):
                self._add("total-differs", entry, f"the instruction `{instruction}` had {total} entries, {there} are there")

    def _decision(self, entry: Entry) -> None:
        self._counted.stated((entry.body["grant"], "decision"), entry.body.get("n"), entry.seq)

    def _answer(self, entry: Entry) -> None:
        self._counted.stated((entry.body["grant"], "answer"), entry.body.get("n"), entry.seq)
        self._counted.total((entry.body["grant"], "decision"), entry.body.get("decisions"), entry.seq)

    # Rules and keys

    def _policy(self, entry: Entry) -> None:
        name, digest = entry.body["name"], entry.body["sha256"]
        self._policies.add(digest)
        content = self.bundle.policies.get(digest)
        if content is None:
            self._add("policy-missing", entry, f"the bytes of `{name}` (`{digest}`) are missing")
        elif sha256(content).hexdigest() != digest:
            self._add("policy-changed", entry, f"the bytes of `{name}` are not those that were in force")

    def _key(self, entry: Entry) -> None:
        wrong = self.keys.change(entry.body)
        if wrong is not None:
            self._add("key-mismatch", entry, wrong)

    def _hold(self, entry: Entry) -> None:
        if entry.body["event"] == "placed":
            self._holds[entry.body["hold"]] = entry.body["subject"]
        else:
            self._holds.pop(entry.body["hold"], None)

    def _erasure(self, entry: Entry) -> None:
        body = entry.body
        wanted = {"origin": entry.members["origin"], "subject": body["subject"], "reason": body["reason"]}
        if body["subject"] in self._holds.values():
            self._add("erasure-unauthorised", entry, "the subject was erased under a hold")
        elif len(body["statements"]) != 2:
            self._add("erasure-unauthorised", entry, f"an erasure needs the statements of two signers, not {len(body['statements'])}")
        else:
            signers = [self._signer(statement, wanted) for statement in body["statements"]]
            if None in signers or signers[0] == signers[1] or signers != body["by"]:
                self._add("erasure-unauthorised", entry, "its statements are not those of the two different signers that it names")
        self._erased.add(body["subject"])

    def _signer(self, compact: str, wanted: dict) -> str | None:
        statement = Statement.parse(compact)
        by = self.keys.signer(statement.kid) if statement is not None else None
        if by is None or statement.typ != ERASURE or not statement.signed_by(by):
            return None
        said = statement.payload if isinstance(statement.payload, dict) else {}
        return by.party if all(said.get(name) == value for name, value in wanted.items()) else None

    # Calls

    def _delegation(self, entry: Entry) -> None:
        wrong = self._grants.delegate(entry)
        if wrong is not None:
            self._add(wrong[0], entry, wrong[1])

    def _call(self, entry: Entry) -> None:
        body = entry.body
        if body["verdict"] == "hold":
            self._held[entry.hash] = Held(entry, [])
        for policy in body["policies"]:
            if policy not in self._policies:
                self._add("policy-unrecorded", entry, f"it was judged by a policy `{policy}` that no entry before put in force")
        if body.get("upstream_n") is not None:
            self._forwarded(entry)
        if body["verdict"] == "allow":
            wrong = self._grants.wrong_with(entry)
            if wrong is not None:
                self._add(wrong[0], entry, wrong[1])
        if body.get("approval") is not None:
            self._approved(entry)

    def _forwarded(self, entry: Entry) -> None:
        upstream, n, verdict = entry.body["upstream"], entry.body["upstream_n"], entry.body["verdict"]
        self.report.counts.calls += 1
        self._open[entry.hash] = entry
        expected = self._next_at.get(upstream, 0)
        if self.bundle.whole and n != expected:
            self._add("upstream-counter-gap", entry, f"it is call {n} to `{upstream}`, call {expected} was expected")
        self._next_at[upstream] = n + 1
        if verdict != "allow" and not entry.body.get("shadow"):
            self._add("forwarded-against-verdict", entry, f"it was forwarded although the verdict is `{verdict}`")

    def _approval(self, entry: Entry) -> None:
        call = entry.body["call"]
        held = self._held.pop(call, None)
        if held is None:
            if not self._in_window:
                self._add("approval-without-call", entry, "there is no held call that it answers, or it was answered before")
            return
        wrong = held.answer(entry)
        if wrong is not None:
            self._add(wrong[0], entry, wrong[1])
        if entry.body["decision"] != "approved" or (wrong is not None and wrong[0] == "approval-of-other"):
            # One no is final.
            return
        if wrong is None and len(held.yes) >= held.needs:
            self._approvals[entry.hash] = held
        else:
            self._held[call] = held

    def _approved(self, entry: Entry) -> None:
        held = self._approvals.pop(entry.body["approval"], None)
        if held is None:
            if not self._in_window:
                self._add("approval-unknown", entry, "it rests on an approval that is not there, was a denial, or served before")
            return
        wrong = held.wrong_with(entry)
        if wrong is not None:
            self._add(wrong[0], entry, wrong[1])

    # How calls end, and what the API says of them

    def _outcome(self, entry: Entry) -> None:
        call = entry.body["call"]
        if entry.body.get("receipt") == "received":
            if call in self._receipts:
                self._receipts.discard(call)
            else:
                self._receipted[call] = entry.seq
        if call in self._open:
            del self._open[call]
            self._ended.add(call)
            self._unsettled.ended(entry)
        elif call in self._ended:
            self._add("outcome-twice", entry, "its call had ended before")
        elif not self._in_window:
            self._add("outcome-without-call", entry, "there is no forwarded call that it ends: the call's entry is missing")

    def _settlement(self, entry: Entry) -> None:
        wrong = self._unsettled.settle(entry)
        if wrong is not None and not self._in_window:
            self._add(wrong[0], entry, wrong[1])

    def _root_over(self, size: int) -> bytes | None:
        """The root over the first `size` entries, where all of them are there."""
        if self._roots is None:
            self._roots = integrity.prefix_roots(self.bundle)
        return self._roots.get(size)

    def _receipt(self, entry: Entry) -> None:
        call = entry.body["call"]
        if call not in self._open and call not in self._ended and not self._in_window:
            self._add("receipt-without-call", entry, "there is no forwarded call that it is about")
        # One that was fetched afterwards is not the one that came with the answer.
        if not entry.body.get("late") and self._receipted.pop(call, None) is None:
            self._receipts.add(call)

    # What shows only at the end

    def _end(self) -> None:
        self._values.finish(self._erased)
        self.report.counts.open_calls = len(self._open)
        now = max((entry.time for entry in self.bundle.entries), default="")
        old = [entry for entry in self._open.values() if seconds_between(entry.time, now) > OPEN]
        if len(old) < len(self._open):
            self.report.notes.append(f"{len(self._open) - len(old)} forwarded calls had not ended at the last entry")
        if self._in_window:
            return
        for entry in old:
            self._add("call-open", entry, "the call was forwarded and no outcome ends it, though more than 24 hours passed: its outcome is missing")
        for seq in self._receipted.values():
            self.report.add("receipt-missing", seq, "a receipt of the API came with the answer, and its entry is missing")
        for seq, what in self._counted.holes():
            self.report.add("statement-gap", seq, what)

