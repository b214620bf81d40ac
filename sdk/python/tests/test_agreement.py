"""Both verifiers say the same of bundles that nobody wrote by hand: exit code, and which codes at which entries.

The first verifier is the program `countersign`: `$COUNTERSIGN`, or as `cargo build` leaves it. `$COUNTERSIGN_SEEDS` says how many bundles.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from golden import ROOT
from mutate import broken, lying

from countersign_verify import Unreadable, verify

PROGRAM = Path(os.environ.get("COUNTERSIGN", ROOT / "target/debug/countersign"))
SEEDS = int(os.environ.get("COUNTERSIGN_SEEDS", "200"))
pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason=f"the first verifier is not built: {PROGRAM}")
REFUSED = "refused"


def first(file: Path) -> object:
    command = [str(PROGRAM), "verify", str(file), "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if run.returncode == 2:
        return REFUSED
    findings = json.loads(run.stdout)["findings"]
    return answer(run.returncode, {(finding["code"], finding.get("seq")) for finding in findings})


def second(data: bytes) -> object:
    try:
        report = verify(data)
    except Unreadable:
        return REFUSED
    return answer(0 if report.clean else 1, {(finding.code, finding.seq) for finding in report.findings})


def answer(exit_code: int, found: set) -> object:
    # Where a zip file ends that can be read, and a malformed one begins, is not the same in two libraries: both refuse it.
    return REFUSED if found == {("bundle-malformed", None)} else (exit_code, found)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_both_find_the_same_in_a_ledger_that_lies(seed, tmp_path):
    data, what = lying(seed)
    file = tmp_path / "bundle.zip"
    file.write_bytes(data)
    assert second(data) == first(file), what


@pytest.mark.parametrize("seed", range(SEEDS))
def test_both_find_the_same_in_a_bundle_with_a_broken_file(seed, tmp_path):
    data, what = broken(seed)
    file = tmp_path / "bundle.zip"
    file.write_bytes(data)
    assert second(data) == first(file), what
