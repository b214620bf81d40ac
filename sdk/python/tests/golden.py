"""The golden bundles and what must be found in each (ledger/tests/golden_bundles/README.md)."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "ledger" / "tests" / "golden_bundles"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
BUNDLES = EXPECTED["bundles"]
TRUST = EXPECTED["trust"]


def data_of(name: str) -> bytes:
    """The golden bundle with that number, such as `041`."""
    (found,) = FOLDER.glob(f"{name}-*.zip")
    return found.read_bytes()
