"""Who was allowed what: grants, what was cut from them, and what was withdrawn (docs/format.md §10 and §11)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .bodies import seconds_between
from .bundle import Entry

PLUMBING, MESSAGE = "mcp-plumbing", "mcp/message"
ASKING = "model-any-grant"
# What asks a model, or lists the models: method and paths.
QUESTIONS = {
    "model.generate": ("POST", ("/v1/chat/completions", "/v1/responses", "/v1/messages")),
    "model.list": ("GET", ("/v1/models",)),
}
# How long a call may wait between judgement and number, in seconds.
QUEUED = 60
# The longest line of delegations that is followed.
LINE = 64

Wrong = tuple[str, str]


@dataclass
class Grant:
    """A grant or a delegation."""

    instruction: str | None
    subject: str
    agent: str
    actions: list[str]
    expires: str | None
    cut_from: str | None
    withdrawn: bool


class Grants:
    """All of them so far, and what else was withdrawn."""

    def __init__(self, in_window: bool) -> None:
        self._in_window = in_window
        self._grants: dict[str, Grant] = {}
        self._withdrawn: set[tuple[str, str]] = set()

    def grant(self, entry: Entry) -> None:
        """A grant; or a later entry of the same one, which adds actions and revives nothing."""
        before = self._grants.get(entry.body["grant"])
        self._put(entry, None, before is not None and before.withdrawn)

    def delegate(self, entry: Entry) -> Wrong | None:
        """A delegation, which must be narrower than what it is cut from."""
        parent = self._grants.get(entry.body["from"])
        wrong = self._wider(entry, parent)
        self._put(entry, entry.body["from"], False)
        return wrong

    def _put(self, entry: Entry, cut_from: str | None, withdrawn: bool) -> None:
        body = entry.body
        self._grants[body["grant"]] = Grant(
            entry.instruction, body["subject"], body["agent"], body["actions"], body.get("expires"), cut_from, withdrawn
        )

    def _wider(self, entry: Entry, parent: Grant | None) -> Wrong | None:
        body, ends = entry.body, entry.body.get("expires")
        if parent is None:
            return None if self._in_window else ("grant-unknown", "it is cut from a grant that is not there")
        if parent.instruction != entry.instruction or parent.subject != body["subject"]:
            return "grant-of-other", "it is cut from the grant of another instruction or about another data subject"
        if parent.withdrawn:
            return "grant-revoked", "it is cut from a grant that was withdrawn"
        if not set(body["actions"]) <= set(parent.actions):
            return "delegation-wider", "it grants an action that the grant it is cut from does not"
        if parent.expires is not None and (ends is None or ends > parent.expires):
            return "delegation-wider", "it holds longer than the grant it is cut from"
        if is_over(parent.expires, entry.time):
            return "grant-expired", "it is cut from a grant that had ended"
        return None

    def revoke(self, entry: Entry) -> None:
        """Withdraws what the entry names, or gives it back."""
        what, of = entry.body["what"], entry.body["id"]
        named = self._grants.get(of) if what == "grant" else None
        if named is not None and named.instruction == entry.instruction:
            self._withdraw(of)
        elif entry.instruction is not None:
            for grant in self._grants.values():
                grant.withdrawn = grant.withdrawn or grant.instruction == entry.instruction
        elif what == "grant":
            self._withdraw(of)
        elif entry.body.get("lifted"):
            self._withdrawn.discard((what, of))
        else:
            self._withdrawn.add((what, of))

    def _withdraw(self, first: str) -> None:
        """A grant with all that was cut from it."""
        todo = [first]
        while todo:
            name = todo.pop()
            if name in self._grants:
                self._grants[name].withdrawn = True
            todo += [below for below, grant in self._grants.items() if grant.cut_from == name and not grant.withdrawn]

    def wrong_with(self, entry: Entry) -> Wrong | None:
        """Why an allowed call should not have been."""
        wrong = self._not_granted(entry) or self._withdrawn_for(entry.body)
        return None if wrong is None else (wrong[0], f"it was allowed {wrong[1]}")

    def _not_granted(self, entry: Entry) -> Wrong | None:
        body = entry.body
        grant = self._grants.get(body["grant"]) if body.get("grant") is not None else None
        if grant is None:
            return None if self._in_window else ("grant-unknown", "under a grant that is not there")
        if grant.instruction != entry.instruction:
            return "grant-of-other", "under the grant of another instruction"
        if body.get("agent") not in (None, grant.agent):
            return "grant-of-other", "under the grant of another agent"
        if body.get("subject") not in (None, grant.subject):
            return "grant-of-other", "under a grant about another data subject"
        if grant.withdrawn:
            return "grant-revoked", "although its grant was withdrawn"
        if is_over(grant.expires, entry.time):
            return "grant-expired", "although its grant had ended"
        if body.get("action") not in grant.actions and not is_plumbing(body) and asks(body) is None:
            return "action-not-granted", f"although its grant does not include `{body.get('action', '?')}`"
        return None

    def _withdrawn_for(self, body: dict[str, Any]) -> Wrong | None:
        names = [("everything", ""), *((what, body.get(what)) for what in ("agent", "subject", "action"))]
        # Of an agent also what it handed on.
        names += [("agent", grant.agent) for grant in self._line(body.get("grant"))]
        for what, of in names:
            if (what, of) in self._withdrawn:
                return "revoked", f"although `{what}/{of}` was withdrawn"
        return None

    def _line(self, name: str | None) -> Iterator[Grant]:
        """A grant and those above it."""
        for _ in range(LINE):
            grant = self._grants.get(name) if name is not None else None
            if grant is None:
                return
            yield grant
            name = grant.cut_from


def is_plumbing(body: dict[str, Any]) -> bool:
    """Whether a call passed as a message of MCP that is no action: a grant names none of them."""
    return body.get("action") is None and PLUMBING in body["rules"]


def asks(body: dict[str, Any]) -> tuple[str, tuple[str, ...]] | None:
    """What a call that any grant allows, because it asks a model, must be; none for any other call."""
    action = body.get("action")
    if ASKING not in body["rules"] or (action == "model.generate" and body.get("prompt") is None):
        return None
    return QUESTIONS.get(action)


def is_over(end: str | None, now: str) -> bool:
    """Whether a time had passed, also for who was queued."""
    return end is not None and seconds_between(end, now) > QUEUED
