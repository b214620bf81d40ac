"""Proofs of possession: which are none, which are of something else; and both verifiers say the same of each."""

from __future__ import annotations

import json

import pytest
from forge import Ledger, b64url, jwk_of, key_of
from golden import FOLDER
from test_agreement import PROGRAM, first, second

from countersign_verify import verify

GOLDEN = (FOLDER / "128-no-lie-calls-with-proofs-of-the-agents-key.zip").read_bytes()
AGENT = 8


def of_golden() -> tuple[Ledger, int]:
    ledger = Ledger.of(GOLDEN)
    return ledger, next(place for place, values in enumerate(ledger.values) if "proof" in values)


def proof(header: dict | str, payload: dict | str, seed: int = AGENT) -> str:
    texts = [part if isinstance(part, str) else json.dumps(part) for part in (header, payload)]
    signed = ".".join(b64url(text.encode()) for text in texts)
    return f"{signed}.{b64url(key_of(seed).sign(signed.encode()))}"


ODD = {
    "its own": ({}, {}, set()),
    "another typ": ({"typ": "JWT"}, {}, {"proof-invalid"}),
    "another alg": ({"alg": "ES256"}, {}, {"proof-invalid"}),
    "no alg": ({"alg": None}, {}, {"proof-invalid"}),
    "crit": ({"crit": ["b64"]}, {}, {"proof-invalid"}),
    "no key": ({"jwk": None}, {}, {"proof-invalid"}),
    "a key that is a text": ({"jwk": "x"}, {}, {"proof-invalid"}),
    "a private key": ({"jwk": jwk_of(AGENT) | {"d": "AA"}}, {}, {"proof-invalid"}),
    "a private member that is null": ({"jwk": jwk_of(AGENT) | {"d": None}}, {}, {"proof-invalid"}),
    "a coordinate too much": ({"jwk": jwk_of(AGENT) | {"y": "AA"}}, {}, {"proof-invalid"}),
    "a coordinate that is null": ({"jwk": jwk_of(AGENT) | {"y": None}}, {}, set()),
    "a member that nobody knows": ({"jwk": jwk_of(AGENT) | {"use": "sig"}}, {"more": 1}, set()),
    "another key": ({"jwk": jwk_of(9)}, {}, {"proof-invalid"}),
    "no jti": ({}, {"jti": None}, {"proof-invalid"}),
    "a time with a fraction": ({}, {"iat": 1_800_000_000.0}, {"proof-invalid"}),
    "a time beyond 64 bits": ({}, {"iat": 2**63}, {"proof-invalid"}),
    "a digest that is a number": ({}, {"ath": 1}, {"proof-invalid"}),
    "no digest": ({}, {"ath": None}, {"proof-says-other"}),
    "another method": ({}, {"htm": "post"}, {"proof-says-other"}),
    "a minute ahead": ({}, {"iat": 1_800_000_060}, set()),
    "more than a minute ahead": ({}, {"iat": 1_800_000_061}, {"proof-says-other"}),
    "an hour old": ({}, {"iat": 1_799_996_400}, set()),
    "more than an hour old": ({}, {"iat": 1_799_996_399}, {"proof-says-other"}),
}


def bundle(name: str) -> bytes:
    ledger, call = of_golden()
    header, payload, _ = ODD[name]
    shown = ledger.values[call]["proof"]
    ledger.values[call]["proof"] = {"value": proof(shown["header"] | header, shown["proof"] | payload)}
    return ledger.bundle()


def codes(data: bytes) -> set[str]:
    return {finding.code for finding in verify(data).findings}


@pytest.mark.parametrize("name", ODD)
def test_what_is_wrong_with_a_proof_is_named(name, tmp_path):
    data = bundle(name)
    assert codes(data) == ODD[name][2]
    agrees(data, tmp_path)


TWICE = '{"alg":"EdDSA","jwk":%s,"typ":"JWT","typ":"dpop+jwt"}'
TARGETS = {"/pay": 0, "/pay#x": 0, "/": 0, "/p%61y": 0, "/paid": 1, "/bank/pay": 0, "/other/pay": 1, "": 0}


def test_a_member_that_stands_twice_makes_it_none(tmp_path):
    ledger, call = of_golden()
    said = ledger.values[call]["proof"]["proof"]
    ledger.values[call]["proof"] = {"value": proof(TWICE % json.dumps(jwk_of(AGENT)), said)}
    assert codes(ledger.bundle()) == {"proof-invalid"}
    agrees(ledger.bundle(), tmp_path)


@pytest.mark.parametrize("target", TARGETS)
def test_the_url_must_end_with_what_the_api_was_asked_for(target, tmp_path):
    ledger, call = of_golden()
    ledger.values[call]["request"] = {"value": {"method": "POST", "target": target}}
    assert codes(ledger.bundle()) == ({"proof-says-other"} if TARGETS[target] else set())
    agrees(ledger.bundle(), tmp_path)


def test_of_a_message_the_methods_are_not_compared(tmp_path):
    ledger, call = of_golden()
    ledger.values[call]["request"] = {"value": {"method": "tools/call", "target": "/x"}}
    assert codes(ledger.bundle()) == set()
    agrees(ledger.bundle(), tmp_path)


def agrees(data: bytes, tmp_path) -> None:
    if PROGRAM.exists():
        file = tmp_path / "bundle.zip"
        file.write_bytes(data)
        assert second(data) == first(file)
