"""Ledgers that lie, by chance: one seed, one bundle. Every signature, proof and link is made anew, so that what is wrong is what is said."""

from __future__ import annotations

import base64
import copy
import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

from forge import Ledger, unzipped, vkey_of, zipped
from golden import BUNDLES, FOLDER

GOLDEN = [bundle["file"] for bundle in BUNDLES if "against" not in bundle]
HOUR = "2027-01-15T08:30:00.000000Z"
TIMES = [
    "2027-01-15T08:00:00.000000Z",
    "2027-01-15T08:00:00.000001Z",
    "2027-01-15T09:00:00.000000Z",
    "2027-01-15T09:01:00.999999Z",
    "2027-01-15T09:01:01.000000Z",
    "2027-01-16T08:00:00.000000Z",
    "2027-01-16T08:00:01.000000Z",
]
VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, 7, -1, 2**53 - 1, [], {}, "", "x", "f" * 64, "0" * 64),
    *("a", "ann", "bank", "c", "d", "g", "i", "j", "pay", "read", ["pay"], ["pay", "close"]),
    *("allow", "hold", "deny", "approved", "denied", "valid", "invalid", "unknown_key", "registered", "revoked"),
    *("grant", "agent", "subject", "action", "everything", "received", "missing", "tools/call", ["mcp-plumbing"]),
    *({"place": 3}, {"place": 6}, {"place": 7}),
    *TIMES,
]
MEMBERS: list[tuple[str, Any]] = [
    *(("shadow", True), ("late", True), ("lifted", True), ("n", 0), ("n", 2), ("decisions", 2), ("upstream_n", 0), ("upstream_n", 1)),
    *(("expires", TIMES[0]), ("receipt", "received"), ("approval", {"place": 7}), ("jwk", {}), ("agent", "sub"), ("grant", "d")),
    *(("check", {"alg": "EdDSA", "kid": "k", "result": "valid"}), ("of a later version", {"a": []}), ("rules", ["model-any-grant"])),
    *(("action", "model.list"), ("action", "close"), ("differs", ["request"]), ("passkey", None)),
]


def lying(seed: int) -> tuple[bytes, str]:
    """A bundle, and what was done to it."""
    chance = random.Random(seed)
    name = chance.choice(GOLDEN)
    try:
        ledger = Ledger.of((FOLDER / name).read_bytes())
        if chance.random() < 0.5:
            ledger.selection = None
        done = [_change(chance, ledger) for _ in range(chance.choice([1, 1, 1, 2, 3]))]
        return ledger.bundle(), f"{name}: {done}"
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        # A golden bundle that cannot be taken apart, or a change that leaves nothing to write: the next seed will do.
        return lying(seed + 1_000_000)


def broken(seed: int) -> tuple[bytes, str]:
    """A bundle with one of its files changed, and which."""
    chance = random.Random(seed)
    name = chance.choice(GOLDEN)
    data = (FOLDER / name).read_bytes()
    try:
        files = unzipped(data)
    except ValueError:
        return data, name
    file = chance.choice(sorted(files))
    other = chance.choice(sorted(files))
    what = chance.randrange(6)
    if what == 0:
        del files[file]
    elif what == 1:
        files[file] = files[other]
    elif what == 2:
        files[file], files[other] = files[other], files[file]
    else:
        files[file] = _spoilt(chance, files[file])
    return zipped(files), f"{name}: {file}, {other}, {what}"


def held(seed: int) -> tuple[bytes, list[str], list[bytes]]:
    """A bundle, lines of `--trust`, and what is given with `--against`: of the same ledger, of another one, or of a fork of it."""
    chance = random.Random(seed)
    name = chance.choice([name for name in GOLDEN if not 67 < int(name[:3]) < 75])
    ledger = Ledger.of((FOLDER / name).read_bytes())
    if chance.random() < 0.5:
        ledger.selection = None
    if chance.random() < 0.3:
        ledger.left_out.add(chance.randrange(len(ledger.entries)))
    fork = ledger.copy()
    fork.origin = chance.choice([ledger.origin] * 3 + ["other.example"])
    fork.seed = chance.choice([1, 1, 1, 2])
    if chance.random() < 0.4:
        chance.choice(fork.entries)["time"] = TIMES[-1]
    fork.left_out = set()
    if chance.random() < 0.6:
        del fork.entries[chance.randrange(1, len(fork.entries) + 1) :], fork.values[len(fork.entries) :]
    files = fork.files()
    proofs = [name for name in files if name.startswith("proofs/")]
    kept = [files["checkpoint.txt"], files[chance.choice(proofs)], _receipt_of(files["checkpoint.txt"])]
    if chance.random() < 0.15:
        kept = [_spoilt(chance, content) for content in kept]
    trust = chance.choice([[], [], [files["keys.txt"].decode()], [vkey_of(1, ledger.origin)[0], vkey_of(2, ledger.origin)[0]], ["x"]])
    return ledger.bundle(), trust, chance.sample(kept, chance.choice([0, 1, 1, 2]))


def _receipt_of(note: bytes) -> bytes:
    field = base64.b64encode(note).decode()
    base = f'"countersign-checkpoint";req: :{field}:\n"@signature-params": ("countersign-checkpoint";req);keyid="k"'
    return json.dumps({"base": base, "value": "AAAA"}).encode()


def _spoilt(chance: random.Random, data: bytes) -> bytes:
    text = bytearray(data)
    for _ in range(chance.choice([1, 1, 2])):
        place = chance.randrange(len(text) + 1)
        what = chance.randrange(4)
        if what == 0:
            text[place : place + 1] = bytes([chance.choice(b'0123456789abcXYZ",:{}[]\\ \n\x00\xff+/=-.')])
        elif what == 1:
            del text[place : place + chance.choice([1, 1, 40])]
        elif what == 2:
            text[place:place] = text[place : place + chance.randrange(40)]
        else:
            text[place:place] = chance.choice([b"\n", b"\r\n", b" ", b'"a":1,', b"null", b"1.5", b"1e3", b"-0", b"9007199254740992", b"\\ud800"])
    return bytes(text)


def _paths(value: Any, path: tuple = ()) -> Iterator[tuple]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield (*path, name)
        yield from _paths(item, (*path, name))


def _at(value: Any, path: tuple) -> Any:
    for name in path:
        value = value[name]
    return value


def _change(chance: random.Random, ledger: Ledger) -> str:
    changes = [_member] * 9 + [_new_member] * 3 + [_value] * 2 + [_drop, _drop, _repeat, _repeat, _later, _leave_out, _select, _count]
    return chance.choice(changes)(chance, ledger)


def _member(chance: random.Random, ledger: Ledger) -> str:
    entry = chance.choice(ledger.entries)
    paths = [path for path in _paths(entry) if path not in (("seq",), ("prev",))]
    if chance.random() < 0.5:
        paths = [path for path in paths if path[0] == "body"]
    path = chance.choice(paths)
    holder = _at(entry, path[:-1])
    what = chance.random()
    if what < 0.25:
        del holder[path[-1]]
        return f"without {path}"
    other = chance.choice(ledger.entries)
    alike = [found for found in _paths(other) if found[-1] == path[-1]]
    holder[path[-1]] = copy.deepcopy(_at(other, chance.choice(alike)) if what < 0.5 and alike else chance.choice(VALUES))
    return f"{path} = {holder[path[-1]]!r}"


def _new_member(chance: random.Random, ledger: Ledger) -> str:
    name, value = chance.choice(MEMBERS)
    place = chance.randrange(len(ledger.entries))
    ledger.entries[place]["body"][name] = copy.deepcopy(value)
    return f"{place}: {name} = {value!r}"


def _value(chance: random.Random, ledger: Ledger) -> str:
    place, name = chance.choice([(place, name) for place, values in enumerate(ledger.values) for name in values])
    value = ledger.values[place][name]
    what = chance.random()
    if what < 0.3:
        ledger.values[place][name] = chance.choice(["withheld", "erased"])
    elif what < 0.4:
        del ledger.values[place][name]
    elif isinstance(value, dict):
        path = chance.choice([path for path in _paths(value) if len(path) > 1 and path[0] != "receipt"] or [("value",)])
        _at(value, path[:-1])[path[-1]] = chance.choice(VALUES[:37])
    return f"{place}: value {name}"


def _drop(chance: random.Random, ledger: Ledger) -> str:
    place = chance.randrange(len(ledger.entries))
    del ledger.entries[place], ledger.values[place]
    return f"without entry {place}"


def _repeat(chance: random.Random, ledger: Ledger) -> str:
    place, to = (chance.randrange(len(ledger.entries)) for _ in range(2))
    ledger.entries.insert(to, copy.deepcopy(ledger.entries[place]))
    ledger.values.insert(to, copy.deepcopy(ledger.values[place]))
    return f"{place} again at {to}"


def _later(chance: random.Random, ledger: Ledger) -> str:
    place, time = chance.randrange(len(ledger.entries)), chance.choice(TIMES)
    for entry in ledger.entries[place:]:
        entry["time"] = time
    return f"from {place} at {time}"


def _leave_out(chance: random.Random, ledger: Ledger) -> str:
    ledger.left_out.add(chance.randrange(len(ledger.entries)))
    return f"left out {ledger.left_out}"


def _select(chance: random.Random, ledger: Ledger) -> str:
    windows = [{"window": [TIMES[0], HOUR]}, {"window": [HOUR, TIMES[-1]]}]
    ledger.selection = chance.choice([None, "all", {"instruction": "i"}, {"instruction": "j"}, *windows])
    return f"{ledger.selection}"


def _count(chance: random.Random, ledger: Ledger) -> str:
    counts: Counter[str] = Counter()
    for entry in ledger.entries:
        if isinstance(entry.get("instruction"), str):
            entry["n"] = counts[entry["instruction"]]
            counts[entry["instruction"]] += 1
    return "counted anew"
