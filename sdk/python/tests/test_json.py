"""Canonical JSON and JSON with one reading."""

from __future__ import annotations

import json

import pytest
from golden import ROOT

from countersign_verify.findings import Malformed
from countersign_verify.strict_json import parse, parse_canonical, same


@pytest.mark.parametrize("file", sorted((ROOT / "ledger/tests/golden").glob("*.json")), ids=lambda file: file.stem)
def test_golden_entries_are_canonical_and_no_other_spelling_is(file):
    data = file.read_bytes().rstrip(b"\n")
    value = parse_canonical(data)
    with pytest.raises(Malformed):
        parse_canonical(json.dumps(value, indent=1).encode())


@pytest.mark.parametrize(
    "text",
    [
        '{"b":1,"a":1}',
        '{"a":1,"a":1}',
        '{"a":1.0}',
        '{"a":1e2}',
        '{"a":-0}',
        '{"a":01}',
        '{"a":9007199254740992}',
        '{"a":' + "9" * 5000 + "}",
        '{"a":NaN}',
        '{"a":"\\u0041"}',
        '{"a":"\\ud800"}',
        '{"a":1} ',
        "[" * 100_000,
        "[" * 128 + "]" * 128,
        '\ufeff{"a":1}',
        "",
    ],
)
def test_what_is_not_canonical_is_refused(text):
    with pytest.raises(Malformed):
        parse_canonical(text.encode("utf-8", "surrogatepass"))


def test_members_are_in_the_order_of_utf16():
    assert parse_canonical('{"\U0001f600":1,"\ufb33":2}'.encode()) == {"\U0001f600": 1, "\ufb33": 2}
    with pytest.raises(Malformed):
        parse_canonical('{"\ufb33":2,"\U0001f600":1}'.encode())


def test_nesting_up_to_127_levels_is_read():
    assert parse_canonical(b"[" * 127 + b"]" * 127)


@pytest.mark.parametrize("text", [b'{"a":1,"a":2}', b"\xff", b'"\\ud800"', b"1e999", b"Infinity"])
def test_foreign_json_has_one_reading_too(text):
    with pytest.raises(Malformed):
        parse(text)


def test_true_is_not_one_and_one_is_not_one_point_zero():
    assert same({"a": [1, "x", None]}, {"a": [1, "x", None]})
    assert not same(True, 1)
    assert not same(1, 1.0)
    assert not same({"a": 1}, {"a": 1, "b": 1})
    assert not same([1], [1, 1])
