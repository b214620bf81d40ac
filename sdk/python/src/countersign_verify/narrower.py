"""A delegated grant against the one it was cut from, where both are disclosed (docs/format.md §11, "Delegated grants")."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

from . import bodies
from .bundle import Entry

_DECIMAL = re.compile(r"(?!-0(\.0*)?$)-?(0|[1-9][0-9]{0,27})(\.[0-9]{1,28})?")


def _closed(must: dict[str, bodies.Test], may: dict[str, bodies.Test]) -> bodies.Test:
    """As `bodies.row`, but a limit that is not known cannot be compared."""
    return lambda value: not bodies.misfits(value, must, may) and value.keys() <= must.keys() | may.keys()


_CONSTRAINT = {
    "equals": bodies.text,
    "one_of": bodies.many(bodies.text),
    "minimum": bodies.text,
    "maximum": bodies.text,
    "pattern": bodies.text,
    "prefix": bodies.text,
    "subset": bodies.many(bodies.text),
}
_BUDGET = ({"argument": bodies.text, "limit": bodies.text}, {"currency": bodies.text, "currency_argument": bodies.text})
_ACTION = (
    {"action": bodies.text},
    {
        "upstream": bodies.text,
        "arguments": bodies.table(_closed({}, _CONSTRAINT)),
        "max_calls": bodies.number,
        "budget": _closed(*_BUDGET),
        "view": bodies.text,
    },
)


def _time(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


_GRANT = (
    {
        "id": bodies.text,
        "instruction": bodies.text,
        "agent": bodies.text,
        "issued": _time,
        "expires": _time,
        "actions": bodies.table(_closed(*_ACTION)),
    },
    {"max_calls": bodies.number, "not_before": _time, "key": bodies.text, "from": bodies.text},
)


class Disclosed:
    """The grants that were disclosed so far, by id."""

    def __init__(self) -> None:
        self._grants: dict[str, Any] = {}

    def follow(self, entry: Entry) -> str | None:
        """Takes a grant; says what is wrong with one that was cut from another."""
        if entry.kind not in ("grant", "delegation") or not entry.has("grant"):
            return None
        own, wrong = entry.shown("grant"), None
        members = own if isinstance(own, dict) else {}
        if entry.kind == "delegation":
            for shown, disclosed in (("grant", "id"), ("from", "from"), ("agent", "agent")):
                if _text(entry.body.get(shown)) != _text(members.get(disclosed)):
                    wrong = wrong or f"the grant that is disclosed has another `{shown}` than its entry"
        parent = _text(entry.body.get("from"))
        if wrong is None and parent is not None and parent in self._grants:
            wrong = wider(own, self._grants[parent])
        self._grants[_text(entry.body.get("grant")) or ""] = own
        return wrong


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def wider(own: Any, parent: Any) -> str | None:
    """The first place where a grant permits what its parent does not, or cannot be compared with it."""
    if bodies.misfits(own, *_GRANT) or bodies.misfits(parent, *_GRANT):
        return "a grant cannot be read"
    if own.get("from") != parent["id"] or own["instruction"] != parent["instruction"]:
        return "from: it was not cut from this grant"
    if _at(own["expires"]) > _at(parent["expires"]):
        return "expires: it goes beyond the grant it is cut from"
    begins = parent.get("not_before")
    if begins is not None and (own.get("not_before") is None or _at(own["not_before"]) < _at(begins)):
        return "not_before: it goes beyond the grant it is cut from"
    if parent.get("key") is not None and own.get("key") is None:
        return "key: the grant it is cut from is bound to a key"
    if _more(own.get("max_calls"), parent.get("max_calls")):
        return "max_calls: it goes beyond the grant it is cut from"
    for name, action in own["actions"].items():
        of = parent["actions"].get(name)
        what = "the grant it is cut from does not include it" if of is None else _wider_action(action, of)
        if what is not None:
            return f"actions.{name}: {what}"
    return None


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _more(own: int | None, parent: int | None) -> bool:
    return parent is not None and (own is None or own > parent)


def _wider_action(own: dict, parent: dict) -> str | None:
    if own.get("upstream") != parent.get("upstream"):
        return "it is an action of another upstream"
    arguments = own.get("arguments", {})
    for name, of in parent.get("arguments", {}).items():
        kind = "all" if name not in arguments else _wider_constraint(arguments[name], of)
        if kind is not None:
            return f"arguments.{name}: {kind}: it goes beyond the grant it is cut from"
    if _more(own.get("max_calls"), parent.get("max_calls")):
        return "max_calls: it goes beyond the grant it is cut from"
    if parent.get("budget") is not None and (own.get("budget") is None or _wider_budget(own["budget"], parent["budget"])):
        return "budget: it goes beyond the grant it is cut from"
    if parent.get("view") is not None and own.get("view") != parent["view"]:
        return "view: the grant it is cut from sees answers through another view"
    return None


def _wider_constraint(own: dict, parent: dict) -> str | None:
    named = [own["equals"]] if own.get("equals") is not None else own.get("one_of")
    if parent.get("equals") is not None and not _among(named, [parent["equals"]]):
        return "equals"
    if parent.get("one_of") is not None and not _among(named, parent["one_of"]):
        return "one_of"
    if parent.get("subset") is not None and not _among(named, parent["subset"]) and not _among(own.get("subset"), parent["subset"]):
        return "subset"
    if parent.get("minimum") is not None and not _ordered(parent["minimum"], own.get("minimum")):
        return "minimum"
    if parent.get("maximum") is not None and not _ordered(own.get("maximum"), parent["maximum"]):
        return "maximum"
    if parent.get("prefix") is not None and not (own.get("prefix") or "").startswith(parent["prefix"]):
        return "prefix"
    if parent.get("pattern") is not None and own.get("pattern") != parent["pattern"]:
        return "pattern"
    return "subset" if _allows_none(own) and not _allows_none(parent) else None


def _among(own: list[str] | None, allowed: list[str]) -> bool:
    return own is not None and set(own) <= set(allowed)


def _allows_none(constraint: dict) -> bool:
    """Whether the empty list holds to it: to a subset alone."""
    return constraint.get("subset") is not None and not any(constraint.get(kind) is not None for kind in _CONSTRAINT if kind != "subset")


def _wider_budget(own: dict, parent: dict) -> bool:
    if own["argument"] != parent["argument"] or own.get("currency_argument") != parent.get("currency_argument"):
        return True
    if parent.get("currency") is not None and (own.get("currency") or "").lower() != parent["currency"].lower():
        return True
    return not _ordered(own["limit"], parent["limit"])


def _ordered(low: str | None, high: str | None) -> bool:
    """Whether both are decimal numbers, the first no greater than the second."""
    if low is None or high is None or not _DECIMAL.fullmatch(low) or not _DECIMAL.fullmatch(high):
        return False
    return Decimal(low) <= Decimal(high)
