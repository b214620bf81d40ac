"""What an entry and each kind's body must have (docs/format.md §2 and §3). Members that are not named here are kept and not looked at."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from .findings import Malformed

U64 = 2**64 - 1
HASH = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")

Test = Callable[[Any], bool]


def text(value: Any) -> bool:
    return isinstance(value, str)


def number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= U64


def small(value: Any) -> bool:
    return number(value) and value < 65_536


def u32(value: Any) -> bool:
    return number(value) and value < 2**32


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def digest(value: Any) -> bool:
    return text(value) and HASH.fullmatch(value) is not None


def anything(value: Any) -> bool:
    return True


def instant(value: Any) -> bool:
    """RFC 3339 in UTC with exactly six digits of microseconds. Two such texts compare as the times do."""
    if not text(value) or not _TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def seconds_between(first: str, second: str) -> int:
    """From one time to another, both in whole seconds."""
    return int((datetime.fromisoformat(second[:19]) - datetime.fromisoformat(first[:19])).total_seconds())


def milliseconds_between(first: str, second: str) -> int:
    """From one time to another, each cut to milliseconds."""
    begin, end = (datetime.fromisoformat(text[:23]) for text in (first, second))
    return round((end - begin).total_seconds() * 1000)


def many(test: Test) -> Test:
    return lambda value: isinstance(value, list) and all(test(item) for item in value)


def table(test: Test) -> Test:
    return lambda value: isinstance(value, dict) and all(test(item) for item in value.values())




def pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(number(item) for item in value)


def row(must: dict[str, Test], may: dict[str, Test] | None = None) -> Test:
    return lambda value: not misfits(value, must, may or {})


def misfits(value: Any, must: dict[str, Test], may: dict[str, Test]) -> str | None:
    """The name of a member that is missing or of another type, if there is one. An optional member that `null` can stand for may be null."""
    if not isinstance(value, dict):
        return "itself"
    for name, test in must.items():
        if name not in value or not test(value[name]):
            return name
    for name, test in may.items():
        if name in value and not test(value[name]) and not (value[name] is None and test not in _NEVER_NULL):
            return name
    return None


def passkey(value: Any) -> bool:
    """How a passkey was registered: these members and no others."""
    return row({"rp_id": text, "origin": text, "credential": text})(value) and len(value) == 3


CALLED = many(row({"agent": text, "grant": text, "calls": number}))
HASHES = many(digest)
# Members that are left out when they are false or empty: these are never null.
_NEVER_NULL = (flag, CALLED, HASHES)
CHECK = row({"alg": text, "kid": text, "result": text}, {"party": text})

BODIES: dict[str, tuple[dict[str, Test], dict[str, Test]]] = {
    "ledger": ({"event": text, "software": text}, {"vkey": text, "replaces": text, "signatures": many(text), "adopts": text, "back_us": number, "detail": text}),
    "party": ({"party": text, "role": text, "by": text}, {"name": text, "release": digest}),
    "key": ({"event": text, "kid": text, "party": text, "by": text}, {"jwk": anything, "passkey": passkey}),
    "policy": ({"what": text, "name": text, "sha256": digest, "size": number, "by": text}, {"replaces": digest}),
    "instruction": (
        {"subject": text, "attested_by": text, "host": text, "agent": text},
        {"amends": text, "check": CHECK, "ungranted": row({"reason": text, "model": text})},
    ),
    "grant": (
        {
            "grant": text,
            "subject": text,
            "agent": text,
            "actions": many(text),
            "withheld": many(row({"action": text, "reason": text})),
            "catalogues": many(digest),
        },
        {"expires": instant, "proposed_by": text, "consent": text, "check": CHECK},
    ),
    "delegation": (
        {"grant": text, "from": text, "subject": text, "agent": text, "actions": many(text)},
        {"expires": instant, "depth": number, "check": CHECK},
    ),
    "decision": (
        {"grant": text, "subject": text, "source": text, "agent": text, "action": text},
        {"n": number, "upstream": text, "model": text, "tool": text, "proposal": text, "check": CHECK},
    ),
    "approval": (
        {"call": digest, "subject": text, "approver": text, "decision": text},
        {"shown": instant, "took_ms": number, "expires": instant, "policies": HASHES, "check": CHECK},
    ),
    "call": (
        {
            "call": text,
            "credential": text,
            "upstream": text,
            "verdict": text,
            "reasons": many(row({"code": text}, {"argument": text})),
            "rules": many(text),
            "engine": text,
            "policies": many(digest),
        },
        {
            "grant": text,
            "subject": text,
            "agent": text,
            "issuer": text,
            "kid": text,
            "action": text,
            "effect": text,
            "judged": instant,
            "shadow": flag,
            "repeats": text,
            "expires": instant,
            "approval": digest,
            "needs": u32,
            "approvals": HASHES,
            "upstream_n": number,
            "traceparent": text,
            "prompt": row({"words": text, "results": row({"faithful": number, "altered": number, "unknown": number})}),
        },
    ),
    "outcome": (
        {"call": digest, "result": text, "sent": text, "bytes": pair, "us": table(number)},
        {
            "subject": text,
            "status": small,
            "peer": text,
            "detail": text,
            "attempts": many(row({"us": number, "sent": text}, {"status": small, "detail": text})),
            "model": text,
            "answer": text,
            "proposals": number,
            "receipt": text,
        },
    ),
    "receipt": (
        {"call": digest, "subject": text, "api": text, "check": CHECK},
        {"differs": many(text), "late": flag},
    ),
    "answer": ({"grant": text, "subject": text, "agent": text}, {"n": number, "decisions": number, "check": CHECK}),
    "revocation": ({"what": text, "id": text, "by": text, "reason": text}, {"lifted": flag}),
    "hold": ({"hold": text, "event": text, "subject": text, "by": text, "reason": text}, {}),
    "erasure": (
        {"subject": text, "by": many(text), "statements": many(text), "checks": many(CHECK), "reason": text},
        {},
    ),
    "settlement": (
        {"call": digest, "subject": text, "executed": flag, "source": text, "by": text},
        {"reason": text, "check": CHECK},
    ),
    "incident": ({"incident": text, "event": text, "calls": many(digest), "by": text}, {}),
    "access": ({"by": text, "what": text, "of": text, "disclosed": many(text)}, {}),
    "heartbeat": (
        {"calls": table(number), "open": number, "closed": many(row({"instruction": text, "entries": number}))},
        {"agents": CALLED, "head": digest},
    ),
}

_ENVELOPE: dict[str, Test] = {
    "v": number,
    "origin": text,
    "seq": number,
    "prev": digest,
    "time": instant,
    "kind": text,
    "parents": many(digest),
    "body": lambda value: isinstance(value, dict),
}


def check_envelope(value: Any) -> None:
    """Refuses what is no entry."""
    wrong = misfits(value, _ENVELOPE, {})
    for name, test in (("instruction", text), ("n", number)):
        if wrong is None and name in value and not test(value[name]):
            wrong = name
    if wrong is not None:
        raise Malformed(f"not an entry: `{wrong}` is missing or not what it must be")


def body_misfit(kind: str, body: dict) -> str | None:
    """The member that makes a body of a known kind none of that kind."""
    if kind not in BODIES:
        return None
    must, may = BODIES[kind]
    return "sd" if not table(text)(body.get("sd", {})) else misfits(body, must, may)
