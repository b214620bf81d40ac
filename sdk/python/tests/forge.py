"""Writes bundles, for the tests: takes a golden one apart, lets a test change it, and signs everything anew.

The keys are those of the golden bundles: the ledger's is that of the 32 bytes 0x01, the parties' are of the same kind.
"""

from __future__ import annotations

import base64
import copy
import io
import json
import re
import zipfile
from dataclasses import dataclass, field
from hashlib import sha256

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SALT = "AAAAAAAAAAAAAAAAAAAAAA"


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def key_of(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def jwk_of(seed: int) -> dict:
    return {"crv": "Ed25519", "kty": "OKP", "x": b64url(key_of(seed).public_key().public_bytes_raw())}


def kid_of(seed: int) -> str:
    return b64url(sha256(rfc8785.dumps(jwk_of(seed))).digest())


SEED_OF = {kid_of(seed): seed for seed in range(256)}


def vkey_of(seed: int, name: str) -> tuple[str, bytes]:
    public = b"\x01" + key_of(seed).public_key().public_bytes_raw()
    key_id = sha256(name.encode() + b"\n" + public).digest()[:4]
    return f"{name}+{key_id.hex()}+{base64.b64encode(public).decode()}", key_id


def tree_root(leaves: list[bytes]) -> bytes:
    """The plain definition of RFC 6962 §2.1, over leaf hashes."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + tree_root(leaves[:split]) + tree_root(leaves[split:])).digest()


def tree_path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*tree_path(index, leaves[:split]), tree_root(leaves[split:])]
    return [*tree_path(index - split, leaves[split:]), tree_root(leaves[:split])]


def leaf(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def checkpoint(origin: str, leaves: list[bytes], seed: int = 1) -> str:
    text = f"{origin}\n{len(leaves)}\n{base64.b64encode(tree_root(leaves)).decode()}\n"
    _, key_id = vkey_of(seed, origin)
    return f"{text}\n— {origin} {base64.b64encode(key_id + key_of(seed).sign(text.encode())).decode()}\n"


def proof(index: int, leaves: list[bytes], note: str) -> str:
    lines = "".join(base64.b64encode(step).decode() + "\n" for step in tree_path(index, leaves))
    return f"c2sp.org/tlog-proof@v1\nindex {index}\n{lines}\n{note}"


def statement(payload: dict, header: dict) -> str:
    """A JWS in compact form; with a `kid` that nobody here has the key of, its signature is a bad one."""
    seed = SEED_OF.get(header.get("kid"))
    if seed is not None:
        return _signed(payload, header, seed)
    return f"{b64url(json.dumps(header).encode())}.{b64url(json.dumps(payload).encode())}.{b64url(bytes(64))}"


def possession(payload: dict, header: dict) -> str:
    """A proof of possession, signed with the key in its header; where that is nobody's here, badly."""
    jwk = header.get("jwk")
    public = {name: jwk.get(name) for name in ("crv", "kty", "x")} if isinstance(jwk, dict) else {}
    kid = b64url(sha256(rfc8785.dumps(public)).digest())
    return statement(payload, header) if kid not in SEED_OF else _signed(payload, header, SEED_OF[kid])


def _signed(payload: dict, header: dict, seed: int) -> str:
    signed = f"{b64url(json.dumps(header).encode())}.{b64url(json.dumps(payload).encode())}"
    return f"{signed}.{b64url(key_of(seed).sign(signed.encode()))}"


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def unzipped(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@dataclass
class Ledger:
    """A bundle taken apart. Values of entries that are disclosed stand in `values`, by name; a state stands as it is."""

    origin: str
    selection: dict | None
    entries: list[dict]
    values: list[dict]
    policies: dict[str, bytes] = field(default_factory=dict)
    left_out: set[int] = field(default_factory=set)
    seed: int = 1

    @classmethod
    def of(cls, data: bytes) -> Ledger:
        files = unzipped(data)
        manifest = json.loads(files["manifest.json"])
        entries = [json.loads(files[f"entries/{seq}.json"]) for seq in manifest["entries"]]
        values = [_values(files.get(f"disclosures/{seq}.json")) for seq in manifest["entries"]]
        policies = {name[9:]: content for name, content in files.items() if name.startswith("policies/")}
        # What refers to an entry by its hash refers to it by its place here, so that it can be written anew.
        places = {sha256(files[f"entries/{seq}.json"]).hexdigest(): place for place, seq in enumerate(manifest["entries"])}
        for entry in entries:
            entry["parents"] = [_place(parent, places) for parent in entry["parents"]]
            for name in ("call", "approval"):
                if entry["kind"] != "call" or name == "approval":
                    if name in entry["body"]:
                        entry["body"][name] = _place(entry["body"][name], places)
        for shown in values:
            for value in shown.values():
                if isinstance(value, dict) and "jws" in value and "call" in value["jws"]:
                    value["jws"]["call"] = _place(value["jws"]["call"], places)
                elif isinstance(value, dict) and "receipt" in value:
                    value["receipt"] |= {"of": place for digest, place in places.items() if digest in value["receipt"]["base"]}
        return cls(manifest["origin"], manifest.get("selection"), entries, values, policies)

    def copy(self) -> Ledger:
        return copy.deepcopy(self)

    def files(self) -> dict[str, bytes]:
        """Numbers, chains, commits, signs and proves everything."""
        hashes: list[str] = []
        written: list[bytes] = []
        shown: list[dict] = []
        for seq, (entry, values) in enumerate(zip(self.entries, self.values, strict=True)):
            members = _hashed(copy.deepcopy(entry), hashes)
            members.setdefault("seq", seq)
            members.setdefault("prev", hashes[-1] if hashes else "0" * 64)
            shown.append(_committed(members, values, hashes))
            written.append(rfc8785.dumps(members))
            hashes.append(sha256(written[-1]).hexdigest())
        leaves = [leaf(data) for data in written]
        note = checkpoint(self.origin, leaves, self.seed)
        there = [seq for seq in range(len(written)) if seq not in self.left_out]
        manifest = {"format": "countersign-bundle/1", "origin": self.origin, "entries": there}
        if self.selection is not None:
            manifest["selection"] = self.selection
        files = {
            "manifest.json": json.dumps(manifest).encode(),
            "keys.txt": (vkey_of(self.seed, self.origin)[0] + "\n").encode(),
            "checkpoint.txt": note.encode(),
        }
        for seq in there:
            files[f"entries/{seq}.json"] = written[seq]
            files[f"proofs/{seq}.tlog-proof"] = proof(seq, leaves, note).encode()
            if shown[seq]:
                files[f"disclosures/{seq}.json"] = json.dumps(shown[seq]).encode()
        return files | {f"policies/{name}": content for name, content in self.policies.items()}

    def bundle(self) -> bytes:
        return zipped(self.files())


def _place(digest: str, places: dict[str, int]) -> object:
    return {"place": places[digest]} if digest in places else digest


def _digest(value: object, hashes: list[str]) -> object:
    if isinstance(value, list):
        return [_digest(item, hashes) for item in value]
    if isinstance(value, dict) and value.keys() == {"place"}:
        place = value["place"]
        return hashes[place] if place < len(hashes) else "f" * 64
    return value


def _hashed(entry: dict, hashes: list[str]) -> dict:
    if isinstance(entry.get("parents"), list):
        entry["parents"] = [_digest(parent, hashes) for parent in entry["parents"]]
    if isinstance(entry.get("body"), dict):
        entry["body"] = {name: _digest(value, hashes) for name, value in entry["body"].items()}
    # Both are worked out anew, unless a test has put something else there.
    for name in ("seq", "prev"):
        if not isinstance(entry.get(name), dict):
            entry.pop(name, None)
        else:
            entry[name] = entry[name]["keep"]
    return entry


def _values(data: bytes | None) -> dict:
    shown = {}
    for name, found in (json.loads(data) if data else {}).items():
        if isinstance(found, str):
            shown[name] = found
            continue
        value = json.loads(unb64url(found["disclosure"]))[2]
        if name == "statement" and isinstance(value, str):
            header, payload, _ = value.split(".")
            shown[name] = {"header": json.loads(unb64url(header)), "jws": json.loads(unb64url(payload))}
        elif name == "proof" and isinstance(value, str):
            header, payload, _ = value.split(".")
            shown[name] = {"header": json.loads(unb64url(header)), "proof": json.loads(unb64url(payload))}
        elif name == "receipt" and isinstance(value.get("signature"), dict):
            shown[name] = {"value": value, "receipt": value["signature"]}
        else:
            shown[name] = {"value": value}
    return shown


def _receipt(signature: dict, hashes: list[str]) -> dict:
    """A receipt about the entry at its place, signed with the key that it names."""
    base = signature["base"]
    if signature.get("of") is not None and signature["of"] < len(hashes):
        base = re.sub('"countersign-entry";req: [0-9a-f]{64}', f'"countersign-entry";req: {hashes[signature["of"]]}', base)
    kid = re.search('keyid="([^"]*)"', base)
    seed = SEED_OF.get(kid[1]) if kid else None
    if seed is None or len(signature["value"]) < 80:
        return {"base": base, "value": signature["value"]}
    return {"base": base, "value": base64.b64encode(key_of(seed).sign(base.encode())).decode()}


def _committed(members: dict, values: dict, hashes: list[str]) -> dict:
    """Writes the commitments into the body, and gives what the bundle shows of the values."""
    shown = {}
    sd = {}
    for name, value in values.items():
        if isinstance(value, str):
            sd[name] = members["body"].get("sd", {}).get(name, b64url(bytes(32)))
            shown[name] = value
            continue
        if "jws" in value:
            plain = statement({key: _digest(item, hashes) for key, item in value["jws"].items()}, value["header"])
        elif "proof" in value:
            plain = possession(value["proof"], value["header"])
        else:
            plain = value["value"]
            if "receipt" in value:
                plain = plain | {"signature": _receipt(value["receipt"], hashes)}
        text = b64url(json.dumps([SALT, name, plain], separators=(",", ":"), ensure_ascii=False).encode())
        sd[name] = b64url(sha256(text.encode()).digest())
        shown[name] = {"disclosure": text}
    if sd and isinstance(members.get("body"), dict):
        members["body"]["sd"] = sd
    return shown
