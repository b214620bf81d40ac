"""All checks of a bundle, in the order of docs/format.md §10."""

from __future__ import annotations

from collections.abc import Sequence

from . import archive, held, integrity
from .bundle import MAX_BUNDLE, Bundle, load
from .conduct import Conduct
from .findings import Malformed, Report
from .held import Held
from .note import VerifierKey
from .rotation import LedgerKeys


class Unreadable(Exception):
    """It cannot be read at all: exit code 2."""


def verify(data: bytes, trust: Sequence[VerifierKey] | None = None, against: Sequence[Held] = ()) -> Report:
    """Everything that is wrong with the bundle in `data`.

    `trust`: verifier keys that were had from elsewhere. `against`: what somebody outside the operator kept.
    """
    report = Report()
    if len(data) > MAX_BUNDLE:
        raise Unreadable("larger than a bundle may be")
    try:
        bundle = load(data)
    except archive.NotAZip as error:
        raise Unreadable(str(error)) from error
    except Malformed as error:
        report.add("bundle-malformed", None, str(error))
        return report
    _check(bundle, list(trust or ()), against, report)
    report.settle()
    return report


def _check(bundle: Bundle, trust: list[VerifierKey], against: Sequence[Held], report: Report) -> None:
    report.origin = bundle.origin
    report.counts.entries = len(bundle.entries)
    _note_selection(bundle, report)
    # Keys that a bundle names count only where none were had from elsewhere, or where one of those signed for them.
    named = LedgerKeys(bundle, report)
    keys, ever = named.trusted(trust or bundle.keys), named.ever_trusted(trust or bundle.keys)
    integrity.check(bundle, named, keys, report)
    if trust and not set(ever) & set(bundle.keys):
        signed, trusted = (" or ".join(f"`{key.line}`" for key in keys) for keys in (bundle.keys, trust))
        report.add("key-not-trusted", None, f"the key that signed this is not the trusted one: it is signed with {signed}, and trusted is {trusted}")
    compared = [held.compare(kept, bundle, ever, report) for kept in against]
    if trust and not any(compared):
        report.notes.append("nothing held outside was compared: whoever holds the trusted key could have written everything anew; --against shows that")
    report.outside = bool(trust) or any(compared)
    if bundle.has_report:
        report.notes.append("the report that lies in the bundle was not looked at and proves nothing: `countersign report` makes it again from what was checked")
    Conduct(bundle, report).walk(integrity.sound(bundle, report))


def _note_selection(bundle: Bundle, report: Report) -> None:
    if bundle.instruction is not None:
        report.notes.append(
            f"this is the instruction `{bundle.instruction}` with what it rests on; that a revocation, hold or key entry of no "
            "instruction was left out shows only in the whole ledger"
        )
    if bundle.window is not None:
        report.notes.append(f"this is the window from {bundle.window[0]} to {bundle.window[1]}; what lies outside it is not here")
