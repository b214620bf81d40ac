"""What the gateway did, judged by the entries alone: grants, approvals, counters, keys, erasures (docs/format.md §10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256

from . import values
from .bodies import later_than
from .bundle import Bundle, Entry
from .findings import Report
from .keys import VALID, Keyring, PublicKey, check_statement
from .note import Checkpoint

DAY = timedelta(hours=24)
PLUMBING = "mcp-plumbing"
ACTIONS_OF_MCP = ("tools/call", "resources/read", "prompts/get")


@dataclass
class Grant:
    """A grant or a delegation."""

    instruction: str | None
    subject: str
    agent: str
    actions: set[str]
    expires: str | None
    cut_from: str | None = None


@dataclass
class Held:
    """A call that waits, and what answered it."""

    entry: Entry
    answered: bool = False


@dataclass
class Approval:
    """An approval that may serve one call."""

    entry: Entry
    held: Entry
    served: bool = False


@dataclass
class Forwarded:
    """A call that was forwarded."""

    entry: Entry
    ended: Entry | None = None
    receipts: int = 0


@dataclass
class Counted:
    """An agent's own numbers under one grant, of one kind."""

    seen: dict[int, int] = field(default_factory=dict)
    claimed: dict[int, int] = field(default_factory=dict)


class Conduct:
    """Walks through the entries in order; each kind has its method."""

    def __init__(self, bundle: Bundle, report: Report) -> None:
        self.bundle = bundle
        self.report = report
        self.keys = Keyring()
        self.erased = values.erased_subjects(bundle)
        self.countersigned: list[tuple[Entry, Checkpoint]] = []
        self._policies: set[str] = set()
        self._grants: dict[str, Grant] = {}
        self._withdrawn: set[tuple[str, str]] = set()
        self._held: dict[str, Held] = {}
        self._approvals: dict[str, Approval] = {}
        self._forwarded: dict[str, Forwarded] = {}
        self._next_n: dict[str, int] = {}
        self._upstream_next: dict[str, int] = {}
        self._counted: dict[tuple[str, str], Counted] = {}
        self._holds: dict[str, str] = {}

    def walk(self, sound: list[Entry]) -> None:
        """All entries, in order; then what shows only at the end."""
        good = {entry.seq for entry in sound}
        for entry in self.bundle.entries:
            self._count(entry)
            if entry.seq not in good:
                continue
            values.check_values(entry, self.erased, self.report)
            values.check_statement_of(entry, self.keys, self.report)
            method = getattr(self, f"_{entry.kind}", None)
            if method is not None:
                method(entry)
        self._end()

    def _add(self, code: str, entry: Entry, what: str) -> None:
        self.report.add(code, entry.seq, what)

    # Counters

    def _count(self, entry: Entry) -> None:
        instruction = entry.instruction
        if instruction is None:
            return
        if self.bundle.instruction is not None and instruction != self.bundle.instruction:
            return
        n = entry.members["n"]
        expected = self._next_n.get(instruction, n if self.bundle.window else 0)
        if n != expected:
            self._add("counter-gap", entry, f"it is number n={n} of the instruction `{instruction}`, n={expected} was expected")
        self._next_n[instruction] = n + 1

    def _upstream(self, entry: Entry) -> None:
        upstream, n = entry.body["upstream"], entry.body["upstream_n"]
        known = self._upstream_next.get(upstream)
        if self.bundle.whole or (self.bundle.window and known is not None):
            expected = known or 0
            if n != expected:
                self._add("upstream-counter-gap", entry, f"it is call {n} to `{upstream}`, call {expected} was expected")
        elif known is not None and n < known:
            self._add("upstream-counter-gap", entry, f"it is call {n} to `{upstream}`, which was counted before")
        self._upstream_next[upstream] = n + 1

    def _heartbeat(self, entry: Entry) -> None:
        for row in entry.body["closed"]:
            instruction, total = row["instruction"], row["entries"]
            if self.bundle.window or (self.bundle.instruction is not None and instruction != self.bundle.instruction):
                continue
            there = self._next_n.get(instruction, 0)
            if there != total:
                self._add("total-differs", entry, f"the instruction `{instruction}` had {total} entries, {there} are there")

    # Rules and keys

    def _policy(self, entry: Entry) -> None:
        body = entry.body
        self._policies.add(body["sha256"])
        content = self.bundle.policies.get(body["sha256"])
        if content is None:
            self._add("policy-missing", entry, f"the bytes of `{body['name']}` (`{body['sha256']}`) are missing")
        elif sha256(content).hexdigest() != body["sha256"] or len(content) != body["size"]:
            self._add("policy-changed", entry, f"the bytes of `{body['name']}` are not those that were in force")

    def _key(self, entry: Entry) -> None:
        body = entry.body
        kid = body["kid"]
        if body["event"] != "registered":
            if kid not in self.keys.ever:
                self._add("key-mismatch", entry, "it changes a key that was never registered")
            self.keys.held.pop(kid, None)
            return
        key = PublicKey.of(body.get("jwk"))
        if key is None or key.thumbprint != kid:
            self._add("key-mismatch", entry, "the key is not the one that it is registered under")
            return
        self.keys.ever.add(kid)
        self.keys.held[kid] = (body["party"], key)

    def _revocation(self, entry: Entry) -> None:
        what = (entry.body["what"], entry.body["id"])
        if entry.body.get("lifted"):
            self._withdrawn.discard(what)
        else:
            self._withdrawn.add(what)

    def _hold(self, entry: Entry) -> None:
        if entry.body["event"] == "placed":
            self._holds[entry.body["hold"]] = entry.body["subject"]
        else:
            self._holds.pop(entry.body["hold"], None)

    def _erasure(self, entry: Entry) -> None:
        body = entry.body
        signers: set[str] = set()
        for statement in body["statements"]:
            found = check_statement(statement, "countersign-erasure+jwt", self.keys)
            says = (found.payload.get("origin"), found.payload.get("subject"))
            if found.result == VALID and says == (self.bundle.origin, body["subject"]):
                signers.add(found.party or "")
        if len(signers) < 2:
            self._add("erasure-unauthorised", entry, f"an erasure needs the statements of two signers, not {len(signers)}")
        if body["subject"] in self._holds.values():
            self._add("erasure-unauthorised", entry, "the subject was erased under a hold")

    # Grants and calls

    def _grant(self, entry: Entry) -> None:
        body = entry.body
        self._grants[body["grant"]] = Grant(entry.instruction, body["subject"], body["agent"], set(body["actions"]), body.get("expires"))

    def _delegation(self, entry: Entry) -> None:
        body = entry.body
        mine = Grant(entry.instruction, body["subject"], body["agent"], set(body["actions"]), body.get("expires"), body["from"])
        self._grants[body["grant"]] = mine
        parent = self._grants.get(body["from"])
        if parent is None:
            if not self.bundle.window:
                self._add("grant-unknown", entry, "it is cut from a grant that is not there")
            return
        if not mine.actions <= parent.actions:
            self._add("delegation-wider", entry, "it grants an action that the grant it is cut from does not")
        if parent.expires is not None and (mine.expires is None or mine.expires > parent.expires):
            self._add("delegation-wider", entry, "it holds longer than the grant it is cut from")
        if (mine.instruction, mine.subject) != (parent.instruction, parent.subject):
            self._add("grant-of-other", entry, "it is cut from the grant of another instruction or about another data subject")

    def _call(self, entry: Entry) -> None:
        body = entry.body
        for policy in body["policies"]:
            if policy not in self._policies:
                self._add("policy-unrecorded", entry, f"it was judged by a policy `{policy}` that no entry before put in force")
        if body["verdict"] == "allow":
            self._allowed(entry)
        elif body["verdict"] == "hold":
            self._held[entry.hash] = Held(entry)
        if body.get("approval") is not None:
            self._approved(entry)
        if body.get("upstream_n") is not None:
            self._upstream(entry)
            self._forwarded[entry.hash] = Forwarded(entry)
            if body["verdict"] != "allow" and not body.get("shadow"):
                self._add("forwarded-against-verdict", entry, f"it was forwarded although the verdict is `{body['verdict']}`")

    def _allowed(self, entry: Entry) -> None:
        body = entry.body
        grant = self._grants.get(body.get("grant") or "")
        if grant is None:
            if not self.bundle.window:
                self._add("grant-unknown", entry, "it was allowed under a grant that is not there")
            return
        other = [
            what
            for what, mine, its in (
                ("instruction", entry.instruction, grant.instruction),
                ("agent", body.get("agent"), grant.agent),
                ("data subject", body.get("subject"), grant.subject),
            )
            if mine != its
        ]
        if other:
            self._add("grant-of-other", entry, f"it was allowed under the grant of another {other[0]}")
        if grant.expires is not None and entry.time >= grant.expires:
            self._add("grant-expired", entry, "it was allowed although its grant had ended")
        self._not_withdrawn(entry, grant)
        self._in_scope(entry, grant)

    def _not_withdrawn(self, entry: Entry, grant: Grant) -> None:
        body = entry.body
        name, seen = body.get("grant"), set()
        at: Grant | None = grant
        while at is not None and name not in seen:
            if ("grant", name) in self._withdrawn:
                self._add("grant-revoked", entry, "it was allowed although its grant was withdrawn")
                break
            seen.add(name)
            name, at = at.cut_from, self._grants.get(at.cut_from or "")
        named = {"agent": body.get("agent"), "subject": body.get("subject"), "action": body.get("action")}
        for what, withdrawn in sorted(self._withdrawn):
            if what == "everything" or (what in named and named[what] == withdrawn):
                self._add("revoked", entry, f"it was allowed although `{what}/{withdrawn}` was withdrawn")

    def _in_scope(self, entry: Entry, grant: Grant) -> None:
        action = entry.body.get("action")
        if action is None and PLUMBING in entry.body["rules"]:
            request = entry.shown("request")
            method = request.get("method") if isinstance(request, dict) else None
            if method in ACTIONS_OF_MCP:
                self._add("not-plumbing", entry, f"it passed as a message of the protocol, but its request is `{method}`")
        elif action not in grant.actions:
            self._add("action-not-granted", entry, f"it was allowed although its grant does not include `{action}`")

    def _approval(self, entry: Entry) -> None:
        held = self._held.get(entry.body["call"])
        if held is None or held.answered:
            if not (held is None and self.bundle.window):
                self._add("approval-without-call", entry, "there is no held call that it answers, or it was answered before")
            return
        held.answered = True
        if entry.body["decision"] == "approved":
            self._approvals[entry.hash] = Approval(entry, held.entry)
        if _differ(entry.shown("digest"), held.entry.shown("digest")):
            self._add("approval-digest", entry, "what was approved is not what was held: their digests differ")

    def _approved(self, entry: Entry) -> None:
        approval = self._approvals.get(entry.body["approval"])
        if approval is None or approval.served:
            if not (approval is None and self.bundle.window):
                self._add("approval-unknown", entry, "it rests on an approval that is not there, was a denial, or served before")
            return
        approval.served = True
        expires = approval.entry.body.get("expires")
        if expires is not None and entry.time >= expires:
            self._add("approval-expired", entry, "it rests on an approval that held no longer")
        same = ("grant", "agent", "subject", "upstream", "action")
        if any(entry.body.get(name) != approval.held.body.get(name) for name in same) or entry.instruction != approval.held.instruction:
            self._add("approval-of-other", entry, "it rests on the approval of another call")
        elif _differ(entry.shown("digest"), approval.entry.shown("digest")):
            self._add("approval-digest", entry, "what was approved is not what was then called: their digests differ")

    # How calls end, and what others say of them

    def _outcome(self, entry: Entry) -> None:
        forwarded = self._forwarded.get(entry.body["call"])
        if forwarded is None:
            if not self.bundle.window:
                self._add("outcome-without-call", entry, "there is no forwarded call that it ends: the call's entry is missing")
        elif forwarded.ended is not None:
            self._add("outcome-twice", entry, "its call had ended before")
        else:
            forwarded.ended = entry

    def _receipt(self, entry: Entry) -> None:
        forwarded = self._forwarded.get(entry.body["call"])
        if forwarded is not None:
            forwarded.receipts += 1
        elif not self.bundle.window:
            self._add("receipt-without-call", entry, "there is no forwarded call that it is about")
        checkpoint = values.check_receipt(entry, self.keys, self.report)
        if checkpoint is not None:
            self.countersigned.append((entry, checkpoint))

    def _decision(self, entry: Entry) -> None:
        self._stated(entry, "decision")

    def _answer(self, entry: Entry) -> None:
        self._stated(entry, "answer")
        made = entry.body.get("decisions")
        if made is not None:
            counted = self._counted.setdefault((entry.body["grant"], "decision"), Counted())
            counted.claimed.setdefault(made, entry.seq)

    def _stated(self, entry: Entry, what: str) -> None:
        n = entry.body.get("n")
        if n is not None:
            self._counted.setdefault((entry.body["grant"], what), Counted()).seen.setdefault(n, entry.seq)

    # What shows only at the end

    def _end(self) -> None:
        last = self.bundle.entries[-1].time if self.bundle.entries else ""
        open_calls = [call for call in self._forwarded.values() if call.ended is None]
        self.report.counts.calls = len(self._forwarded)
        self.report.counts.open_calls = len(open_calls)
        if open_calls:
            self.report.notes.append(f"{len(open_calls)} forwarded calls had not ended at the last entry")
        for call in open_calls:
            if later_than(call.entry.time, last, DAY):
                self._add("call-open", call.entry, "the call was forwarded and no outcome ends it, though more than 24 hours passed")
        for call in self._forwarded.values():
            if call.ended is not None and call.ended.body.get("receipt") == "received" and not call.receipts and not self.bundle.window:
                self._add("receipt-missing", call.ended, "a receipt of the API came with the answer, and its entry is missing")
        if not self.bundle.window:
            for (grant, what), counted in self._counted.items():
                self._gaps(grant, what, counted)

    def _gaps(self, grant: str, what: str, counted: Counted) -> None:
        """Each hole in an agent's numbers once, at the first entry that shows it."""
        expected = 0
        for n in sorted(counted.seen):
            if n > expected:
                self.report.add("statement-gap", counted.seen[n], f"the {what} number {expected} under the grant `{grant}` is missing, though number {n} is there")
            expected = n + 1
        for made, seq in sorted(counted.claimed.items()):
            if made > expected:
                self.report.add("statement-gap", seq, f"the {what} number {expected} under the grant `{grant}` is missing, though the agent says that it made {made}")
                expected = made


def _differ(first: object, second: object) -> bool:
    """Whether two values are both there and differ."""
    return first is not None and second is not None and first != second
