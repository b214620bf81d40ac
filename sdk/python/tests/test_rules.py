"""Delegations, settlements, several approvers and passkeys: what no golden bundle shows yet."""

from __future__ import annotations

import copy
import json
from hashlib import sha256

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from forge import Ledger, b64url
from golden import data_of

from countersign_verify import verify
from countersign_verify.keys import PublicKey

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


def needing_two() -> Ledger:
    ledger = whole()
    second = copy.deepcopy(ledger.entries[APPROVAL])
    second["body"] = {name: value for name, value in second["body"].items() if name not in ("sd", "check")} | {"approver": "bob"}
    # In the place of the outcome that follows the call; what follows is of no matter here.
    del ledger.entries[CALL + 1 :], ledger.values[CALL + 1 :]
    ledger.entries.insert(CALL, second)
    ledger.values.insert(CALL, {})
    ledger.entries[CALL + 1]["body"] |= {"approval": {"place": CALL}, "approvals": [{"place": APPROVAL}, {"place": CALL}]}
    ledger.entries[HELD]["body"]["needs"] = 2
    for place, entry in enumerate(ledger.entries[INSTRUCTION:]):
        entry["n"] = place
    return ledger


def test_two_approvers_say_yes_and_the_call_names_both():
    assert found(needing_two()) == []


def test_one_of_two_is_too_few():
    ledger = needing_two()
    ledger.entries[CALL]["body"]["approver"] = "ann"
    assert found(ledger) == [("approval-twice", CALL), ("approval-unknown", CALL + 1)]


def test_the_agent_approves_nothing():
    ledger = needing_two()
    ledger.entries[CALL]["body"]["approver"] = "a"
    assert found(ledger) == [("approval-by-agent", CALL), ("approval-unknown", CALL + 1)]


def test_a_call_that_does_not_name_all_approvals_is_short():
    ledger = needing_two()
    ledger.entries[CALL + 1]["body"]["approvals"].reverse()
    assert found(ledger) == [("approval-short", CALL + 1)]


def test_other_policies_than_those_of_the_held_call_were_not_approved():
    ledger = needing_two()
    ledger.entries[CALL]["body"]["policies"] = ["0" * 64]
    assert found(ledger) == [("approval-policies", CALL), ("approval-unknown", CALL + 1)]


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


ORIGIN, RP_ID = "https://approve.example", "approve.example"
PRIVATE = ec.derive_private_key(9, ec.SECP256R1())


def passkey_jwk() -> dict:
    numbers = PRIVATE.public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "x": b64url(numbers.x.to_bytes(32)), "y": b64url(numbers.y.to_bytes(32))}


def assertion(counter: int = 5, flags: int = 0x05, origin: str = ORIGIN, payload: dict | None = None, **client) -> dict:
    typ = "countersign-instruction+passkey"
    signed = {"origin": "bank.example/agents", "words": "pay"}
    challenge = b64url(sha256(typ.encode() + b"\x00" + rfc8785.dumps(signed)).digest())
    client_data = json.dumps({"type": "webauthn.get", "challenge": challenge, "origin": origin} | client).encode()
    data = sha256(RP_ID.encode()).digest() + bytes([flags]) + counter.to_bytes(4)
    signature = PRIVATE.sign(data + sha256(client_data).digest(), ec.ECDSA(SHA256()))
    parts = {"authenticator_data": b64url(data), "client_data": b64url(client_data), "signature": b64url(signature)}
    return {"typ": typ, "kid": PublicKey.of(passkey_jwk()).thumbprint, "payload": payload or signed} | parts


def with_passkey(*assertions: dict, passkey: bool = True) -> list:
    ledger = whole()
    kid = PublicKey.of(passkey_jwk()).thumbprint
    body = {"v": 1, "event": "registered", "kid": kid, "party": "user", "by": "ops", "jwk": passkey_jwk()}
    if passkey:
        body["passkey"] = {"rp_id": RP_ID, "origin": ORIGIN, "credential": "AA"}
    key = copy.deepcopy(ledger.entries[2]) | {"body": body, "time": ledger.entries[-1]["time"]}
    ledger.entries.append(key)
    ledger.values.append({})
    for number, made in enumerate(assertions):
        entry = copy.deepcopy(ledger.entries[INSTRUCTION]) | {"instruction": f"with a passkey {number}"}
        entry["body"] |= {"check": {"alg": "webauthn", "kid": kid, "party": "user", "result": "valid"}}
        ledger.entries.append(entry)
        ledger.values.append({"statement": {"value": made}, "words": {"value": "pay"}})
    return [code for code, _ in found(ledger)]


def test_a_passkey_signs_exactly_what_is_stated():
    assert with_passkey(assertion()) == []


@pytest.mark.parametrize(
    "made",
    [
        assertion(flags=0x01),
        assertion(flags=0x04),
        assertion(flags=0x45),
        assertion(flags=0x15),
        assertion(flags=0x85),
        assertion(origin="https://other.example"),
        assertion(payload={"origin": "bank.example/agents", "words": "pay more"}),
        assertion(crossOrigin=True),
        assertion(topOrigin="https://other.example"),
        assertion(type="webauthn.create"),
        assertion() | {"signature": "AAAA"},
        assertion() | {"of a later version": 1},
        assertion() | {"kid": "another"},
    ],
)
def test_anything_else_is_not_what_it_signed(made):
    assert with_passkey(made) == ["statement-differs"]


def test_a_key_makes_assertions_only_when_it_is_a_passkeys():
    assert with_passkey(assertion(), passkey=False) == ["statement-differs"]


def test_a_counter_that_does_not_rise_shows_two_copies_of_the_authenticator():
    assert with_passkey(assertion(5), assertion(6)) == []
    assert with_passkey(assertion(0), assertion(0)) == []
    assert with_passkey(assertion(5), assertion(5)) == ["passkey-counter"]
    assert with_passkey(assertion(5), assertion(0)) == ["passkey-counter"]
