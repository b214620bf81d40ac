"""A second verifier of Countersign bundles, written from docs/format.md and docs/verify.md alone.

It shares no code with the first one. In reading order: `strict_json`, `merkle`, `note` and `archive` read bytes;
`bodies` and `bundle` make entries of them; `integrity`, `statements`, `receipts`, `conduct` and `held` check; `verify`
puts them together and `cli` prints what was found.
"""

from .findings import Finding, Report
from .verify import Unreadable, verify

__all__ = ["Finding", "Report", "Unreadable", "verify"]
