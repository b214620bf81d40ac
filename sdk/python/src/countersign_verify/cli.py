"""The command: `countersign-verify BUNDLE [--trust FILE] [--against FILE]... [--json]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from . import held
from .bundle import MAX_BUNDLE
from .findings import Malformed, Report
from .note import MAX_NOTE, parse_keys
from .verify import Unreadable, verify

SELF_CONSISTENT = (
    "self-consistent only: nothing from outside the operator was given (--trust, --against), "
    "so a ledger written anew would look the same"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0: clean; 1: findings; 2: it cannot be read at all."""
    options = _options(argv)
    try:
        trust = [key for path in options.trust for key in _read_as(path, lambda data: parse_keys(data.decode("utf-8")))]
        against = [_read_as(path, held.parse) for path in options.against]
        report = verify(_read(options.bundle, MAX_BUNDLE), trust, against)
    except Unreadable as error:
        print(f"countersign-verify: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report.as_json(), indent=2, ensure_ascii=False) if options.json else text_of(report, bool(against)))
    return 0 if report.clean else 1


def counted(number: int, one: str, many: str) -> str:
    """A number with what it counts."""
    return f"{number} {one if number == 1 else many}"


def text_of(report: Report, compared: bool) -> str:
    """What was found, in words, the first bad entry first."""
    lines = []
    for finding in report.findings:
        where = "" if finding.seq is None else f"entry {finding.seq}: "
        lines.append(f"{where}{finding.what} [{finding.code}]")
    counts = report.counts
    if report.origin:
        lines.append(
            f"{report.origin}: {counted(counts.entries, 'entry', 'entries')}, {counted(counts.checkpoints, 'checkpoint', 'checkpoints')}, "
            f"{counted(counts.calls, 'forwarded call', 'forwarded calls')} ({counts.open_calls} not ended)"
        )
        lines.append(
            f"{counted(counts.commitments, 'commitment', 'commitments')} and {counted(counts.statements, 'statement', 'statements')} "
            f"checked against their values, {counts.erased} erased"
        )
    lines += [f"note: {note}" for note in report.notes]
    if report.findings:
        lines.append(counted(len(report.findings), "finding", "findings"))
    elif not report.outside:
        lines.append(SELF_CONSISTENT)
    else:
        lines.append("clean, against what was held outside" if compared else "clean, with the trusted key")
    # What comes from the bundle is shown on one line and cannot steer a terminal.
    return "\n".join("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line) for line in lines)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="countersign-verify",
        description="Check a Countersign bundle: form, chain, proofs, signatures, commitments, gaps, grants.",
        epilog="Exit code 0: clean; 1: findings; 2: it cannot be read at all.",
    )
    parser.add_argument("bundle", metavar="BUNDLE")
    parser.add_argument("--trust", metavar="FILE", action="append", default=[], help="verifier keys that you had from elsewhere, a line each")
    parser.add_argument("--against", metavar="FILE", action="append", default=[], help="a checkpoint, proof or receipt that somebody outside kept")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(argv)


def _read(path: str, limit: int) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise Unreadable(f"`{path}` cannot be read: {error}") from error
    if len(data) > limit:
        raise Unreadable(f"`{path}` is larger than it may be")
    return data


def _read_as(path: str, parse):
    try:
        return parse(_read(path, 4 * MAX_NOTE))
    except (Malformed, UnicodeDecodeError) as error:
        raise Unreadable(f"`{path}`: {error}") from error
