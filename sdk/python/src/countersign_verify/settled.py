"""Calls whose outcome left open whether they were executed, until somebody settles that (docs/format.md §3)."""

from __future__ import annotations

from dataclasses import dataclass

from .bundle import Entry


@dataclass
class _Ended:
    outcome: str
    settled: bool = False


class Unsettled:
    """The calls that were perhaps sent."""

    def __init__(self) -> None:
        self._calls: dict[str, _Ended] = {}

    def ended(self, outcome: Entry) -> None:
        """A call ended."""
        if outcome.body["sent"] == "maybe":
            self._calls[outcome.body["call"]] = _Ended(outcome.hash)

    def settle(self, entry: Entry) -> tuple[str, str] | None:
        """Somebody says what became of it; gives what is wrong with that."""
        body = entry.body
        ended = self._calls.get(body["call"])
        if ended is None:
            return "settled-unopened", "there is no call before it whose outcome left open whether it was executed"
        if ended.settled:
            return "settled-twice", "what became of its call was settled before"
        ended.settled = True
        check = body.get("check") or {}
        if body["source"] == "person":
            grounds = check.get("result") == "valid"
        else:
            grounds = any(parent not in (body["call"], ended.outcome) for parent in entry.members["parents"])
        return None if grounds else ("settled-groundless", "it rests on nothing: a person must have signed it, or it must name the receipt or reconciliation")
