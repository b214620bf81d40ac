"""JSON with one reading only, and the canonical form of RFC 8785 (docs/format.md §1)."""

from __future__ import annotations

import json
import math
from typing import Any

import rfc8785

from .findings import Malformed

SAFE = 2**53 - 1
MAX_DEPTH = 127


def parse(data: bytes, integers_only: bool = False) -> Any:
    """The value of one JSON text. Refused: duplicate members, broken text, NaN, what nests deeper than `MAX_DEPTH`."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("not UTF-8") from error
    if _depth(text) > MAX_DEPTH:
        raise Malformed(f"nests deeper than {MAX_DEPTH} levels")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_members,
            parse_int=_integer if integers_only else _number,
            parse_float=_refuse if integers_only else _number,
            parse_constant=_refuse,
        )
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from error
    _whole_text(value)
    return value


def parse_canonical(data: bytes) -> Any:
    """The value of a JSON text that is in canonical form, with integers only."""
    value = parse(data, integers_only=True)
    try:
        again = rfc8785.dumps(value)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON that has a canonical form: {error}") from error
    if again != data:
        raise Malformed("not in canonical form (RFC 8785)")
    return value


def same(first: Any, second: Any) -> bool:
    """Whether two values are the same JSON: true is not 1, and 1 is not 1.0."""
    if type(first) is not type(second):
        return False
    if isinstance(first, list):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(value, second[name]) for name, value in first.items())
    return first == second


def _depth(text: str) -> int:
    deepest = depth = 0
    quoted = escaped = False
    for char in text:
        if quoted:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                quoted = False
        elif char == '"':
            quoted = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


def _members(pairs: list[tuple[str, Any]]) -> dict:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands there twice")
    return members


def _integer(digits: str) -> int:
    if len(digits) > 17:
        raise ValueError("an integer beyond 2^53 - 1")
    value = int(digits)
    if abs(value) > SAFE:
        raise ValueError("an integer beyond 2^53 - 1")
    return value


def _number(digits: str) -> Any:
    """A number of foreign JSON: a whole one of 64 bits is an integer, any other a float."""
    if len(digits) <= 20 and digits.lstrip("-").isdigit() and digits != "-0" and -(2**63) <= int(digits) < 2**64:
        return int(digits)
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number out of range")
    return value


def _refuse(text: str) -> Any:
    raise ValueError(f"`{text[:40]}` is not an integer")


def _whole_text(value: Any) -> None:
    """Refuses half of a surrogate pair, which is no text in UTF-8."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            try:
                item.encode("utf-8")
            except UnicodeEncodeError as error:
                raise Malformed("half of a surrogate pair in a text") from error
        elif isinstance(item, list):
            todo.extend(item)
        elif isinstance(item, dict):
            todo.extend(item)
            todo.extend(item.values())
