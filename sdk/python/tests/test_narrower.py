"""A delegated grant against the one it was cut from."""

from __future__ import annotations

import copy

import pytest

from countersign_verify.narrower import wider

PARENT = {
    "id": "g",
    "instruction": "i",
    "agent": "a",
    "issued": "2027-01-15T08:00:00Z",
    "expires": "2027-01-15T09:00:00Z",
    "max_calls": 3,
    "actions": {
        "pay": {
            "action": "pay",
            "arguments": {"amount": {"maximum": "50.00"}, "to": {"one_of": ["x", "y"]}, "tags": {"subset": ["p", "q"]}, "note": {"prefix": "ab", "pattern": "ab.*"}},
            "budget": {"argument": "amount", "limit": "80", "currency": "GBP"},
            "max_calls": 2,
            "view": "receipt",
        }
    },
}
OWN = copy.deepcopy(PARENT) | {"id": "d", "agent": "sub", "from": "g"}


def changed(path: str, value: object) -> dict:
    own = copy.deepcopy(OWN)
    *steps, last = path.split(".")
    at = own
    for step in steps:
        at = at[step]
    if value is None:
        at.pop(last)
    else:
        at[last] = value
    return own


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("actions", {}),
        ("max_calls", 1),
        ("expires", "2027-01-15T09:30:00+01:00"),
        ("actions.pay.arguments.amount.maximum", "49.995"),
        ("actions.pay.arguments.to", {"equals": "y"}),
        ("actions.pay.arguments.tags", {"subset": []}),
        ("actions.pay.arguments.tags", {"equals": "p"}),
        ("actions.pay.arguments.note.prefix", "abc"),
        ("actions.pay.budget.currency", "gbp"),
        ("actions.pay.budget.limit", "80.0"),
    ],
)
def test_what_is_narrower_passes(path, value):
    assert wider(changed(path, value), PARENT) is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("from", "h"),
        ("from", None),
        ("instruction", "j"),
        ("expires", "2027-01-15T09:00:01Z"),
        ("max_calls", 4),
        ("max_calls", None),
        ("actions.close", {"action": "close"}),
        ("actions.pay.upstream", "shop"),
        ("actions.pay.arguments.amount", None),
        ("actions.pay.arguments.amount.maximum", "50.01"),
        ("actions.pay.arguments.amount.maximum", "+5"),
        ("actions.pay.arguments.amount.maximum", "-0"),
        ("actions.pay.arguments.to", {"one_of": ["x", "z"]}),
        ("actions.pay.arguments.to", {"prefix": "x"}),
        ("actions.pay.arguments.tags", {"subset": ["r"]}),
        ("actions.pay.arguments.amount", {"maximum": "5", "of a later version": "1"}),
        ("actions.pay.arguments.note.prefix", "a"),
        ("actions.pay.arguments.note.pattern", "abc"),
        ("actions.pay.arguments.to", {"subset": ["x"]}),
        ("actions.pay.budget", None),
        ("actions.pay.budget.limit", "81"),
        ("actions.pay.budget.argument", "to"),
        ("actions.pay.budget.currency", None),
        ("actions.pay.max_calls", None),
        ("actions.pay.view", None),
    ],
)
def test_what_is_wider_or_cannot_be_compared_does_not(path, value):
    assert wider(changed(path, value), PARENT) is not None


@pytest.mark.parametrize("own", [None, [], {}, 1, "x", PARENT | {"expires": "soon"}, PARENT | {"actions": {"pay": 1}}])
def test_what_is_no_grant_is_not_narrower(own):
    assert wider(own, PARENT) is not None
