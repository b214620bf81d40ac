"""Delegations and settlements: what no golden bundle shows yet."""

from __future__ import annotations

import copy

import pytest
from forge import Ledger
from golden import data_of

from countersign_verify import verify

# Of the whole golden ledger: the instruction, the grant, the delegation, the held call, its approval, the call made then, its outcome.
INSTRUCTION, GRANT, DELEGATION, HELD, APPROVAL, CALL, OUTCOME, HANDED_ON = range(3, 11)


def whole() -> Ledger:
    return Ledger.of(data_of("041"))


def found(ledger: Ledger) -> list[tuple[str, int | None]]:
    return [(finding.code, finding.seq) for finding in verify(ledger.bundle()).findings]


def add(ledger: Ledger, like: int, **body) -> int:
    """One more entry at the end of the instruction, like an earlier one."""
    entry = copy.deepcopy(ledger.entries[like])
    entry["n"] = 1 + max(other["n"] for other in ledger.entries if other.get("instruction") == "i")
    entry["body"] |= body
    entry["body"].pop("sd", None)
    ledger.entries.append(entry)
    ledger.values.append({})
    return len(ledger.entries) - 1


def test_the_golden_ledger_written_anew_is_clean():
    assert found(whole()) == []


def test_a_withdrawn_grant_takes_with_it_what_was_cut_from_it():
    ledger = whole()
    place = add(ledger, HANDED_ON, upstream_n=None, call="later")
    assert found(ledger) == [("grant-revoked", place)]


def test_a_withdrawn_agent_takes_with_it_what_it_handed_on():
    ledger = whole()
    ledger.entries[12]["body"] |= {"what": "agent", "id": "a"}
    ledger.entries[12:14], ledger.values[12:14] = [ledger.entries[12]], [{}]
    place = add(ledger, HANDED_ON, upstream_n=None, call="later")
    assert ("revoked", 13) in found(ledger)
    assert [seq for code, seq in found(ledger) if code == "grant-revoked"] == [place]


def test_a_delegation_of_another_instruction_or_subject_is_of_another():
    ledger = whole()
    ledger.entries[DELEGATION]["body"]["subject"] = "somebody else"
    assert ("grant-of-other", DELEGATION) in found(ledger)


def grant(**members) -> dict:
    base = {"id": "g", "instruction": "i", "agent": "a", "issued": "2027-01-15T08:00:00Z", "expires": "2027-01-15T09:00:00Z", "actions": {}}
    return {"value": base | members}


@pytest.mark.parametrize(
    ("own", "codes"),
    [
        ({"max_calls": 2}, []),
        ({"max_calls": 4}, ["delegation-wider"]),
        ({"max_calls": 2, "agent": "another"}, ["delegation-wider"]),
        ({"max_calls": 2, "from": "another"}, ["delegation-wider"]),
    ],
)
def test_a_disclosed_delegation_is_no_wider_than_what_it_is_cut_from(own, codes):
    ledger = whole()
    ledger.values[GRANT]["grant"] = grant(max_calls=3)
    ledger.values[DELEGATION]["grant"] = grant(**({"id": "d", "agent": "sub", "from": "g"} | own))
    assert [code for code, _ in found(ledger)] == codes


def settled(*, sent: str = "maybe", source: str = "person", result: str = "valid", times: int = 1) -> list:
    ledger = whole()
    ledger.entries[OUTCOME]["body"]["sent"] = sent
    for _ in range(times):
        place = add(ledger, OUTCOME)
        body = {"v": 1, "call": {"place": CALL}, "subject": "x", "executed": True, "source": source, "by": "ann"}
        ledger.entries[place] |= {"kind": "settlement", "body": body | {"check": {"alg": "EdDSA", "kid": "k", "result": result}}}
        ledger.entries[place]["parents"] = [{"place": CALL}, {"place": OUTCOME}]
    return [code for code, _ in found(ledger)]


def test_a_call_that_was_perhaps_sent_is_settled_once_by_a_signed_word():
    assert settled() == []
    assert settled(times=2) == ["settled-twice"]
    assert settled(sent="yes") == ["settled-unopened"]
    assert settled(result="invalid") == ["settled-groundless"]
    assert settled(source="receipt") == ["settled-groundless"]
