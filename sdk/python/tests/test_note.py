"""Signed notes, verifier keys, checkpoints and proofs."""

from __future__ import annotations

import base64

import pytest
from forge import checkpoint, leaf, proof, vkey_of

from countersign_verify.findings import Malformed
from countersign_verify.note import Checkpoint, Proof, VerifierKey, ed25519_verifies, parse_keys

ORIGIN = "bank.example/agents"
LEAVES = [leaf(bytes([number])) for number in range(5)]
NOTE = checkpoint(ORIGIN, LEAVES)
KEY = VerifierKey.parse(vkey_of(1, ORIGIN)[0])
OTHER = VerifierKey.parse(vkey_of(2, ORIGIN)[0])


def test_a_checkpoint_is_signed_by_its_key_alone():
    read = Checkpoint.parse(NOTE.encode())
    assert (read.origin, read.size) == (ORIGIN, 5)
    assert read.signed_by([KEY])
    assert read.signed_by([OTHER, KEY])
    assert not read.signed_by([OTHER])
    assert not read.signed_by([])


def test_a_changed_checkpoint_is_not_signed():
    assert not Checkpoint.parse(NOTE.replace("\n5\n", "\n4\n").encode()).signed_by([KEY])


def test_a_signature_of_a_known_key_that_fails_refuses_the_whole_note():
    line = NOTE.splitlines()[-1]
    blob = base64.b64decode(line.split(" ")[2])
    bad = f"— {ORIGIN} {base64.b64encode(blob[:-1] + bytes([blob[-1] ^ 1])).decode()}\n"
    assert not Checkpoint.parse((NOTE + bad).encode()).signed_by([KEY])
    unknown = f"— other.example {base64.b64encode(bytes(68)).decode()}\n"
    assert Checkpoint.parse((NOTE + unknown).encode()).signed_by([KEY])


@pytest.mark.parametrize(
    "note",
    [
        "",
        NOTE[:-1],
        NOTE.replace("\n\n", "\n"),
        NOTE.replace("\n5\n", "\n05\n"),
        NOTE.replace("\n5\n", "\n+5\n"),
        NOTE.replace("\n5\n", "\n٥\n"),
        NOTE.replace("\n5\n", f"\n{2**64}\n"),
        NOTE.replace("=\n\n", "\n\n", 1),
        NOTE.replace("— ", "- "),
        NOTE.replace("\n5\n", "\r\n5\n"),
        NOTE + "x" * 70_000,
        NOTE + f"— a {base64.b64encode(bytes(68)).decode()}\n" * 101,
    ],
)
def test_what_is_no_checkpoint_is_refused(note):
    with pytest.raises(Malformed):
        Checkpoint.parse(note.encode())


def test_a_proof_is_read_and_a_malformed_one_refused():
    text = proof(3, LEAVES, NOTE)
    assert Proof.parse(text.encode()).index == 3
    assert Proof.parse(text.replace("index", "extra AA==\nindex", 1).encode()).index == 3
    for wrong in (text.replace("v1", "v2", 1), text.replace("index 3", "index 03"), text.replace("index 3\n", f"index 3\n{'AA==' * 1}\n"), NOTE):
        with pytest.raises(Malformed):
            Proof.parse(wrong.encode())
    with pytest.raises(Malformed):
        Proof.parse(text.replace("index 3\n", "index 3\n" + (base64.b64encode(bytes(32)).decode() + "\n") * 65).encode())


def test_verifier_keys_are_read_a_line_each():
    assert parse_keys(f"# ours\n\n{KEY.line}\r\n\n{OTHER.line}\n") == [KEY, OTHER]
    for wrong in ("x", "a+b", KEY.line.replace("+1a6d", "+1a6e"), KEY.line[:-2], KEY.line.replace("bank", "b nk")):
        with pytest.raises(Malformed):
            VerifierKey.parse(wrong)


def test_a_key_of_small_order_signs_nothing():
    # With the identity as key and R, and S = 0, the equation holds for every message.
    identity = bytes([1]) + bytes(31)
    assert not ed25519_verifies(identity, b"anything", identity + bytes(32))
