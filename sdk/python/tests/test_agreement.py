"""Both verifiers say the same of bundles that nobody wrote by hand: exit code, and which codes at which entries.

The first verifier is the program `countersign`: `$COUNTERSIGN`, or as `cargo build` leaves it. `$COUNTERSIGN_SEEDS` says how many bundles.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from forge import unzipped, zipped
from golden import ROOT, data_of
from mutate import broken, held, lying

from countersign_verify import Unreadable, verify
from countersign_verify.cli import main

PROGRAM = Path(os.environ.get("COUNTERSIGN", ROOT / "target/debug/countersign"))
SEEDS = int(os.environ.get("COUNTERSIGN_SEEDS", "200"))
pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason=f"the first verifier is not built: {PROGRAM}")
REFUSED = "refused"


def first(file: Path, *options: str) -> object:
    command = [str(PROGRAM), "verify", str(file), "--json", *options]
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


@pytest.mark.parametrize("seed", range(SEEDS))
def test_both_find_the_same_with_what_was_had_from_outside(seed, tmp_path, capsys):
    data, trust, against = held(seed)
    file, options = tmp_path / "bundle.zip", []
    file.write_bytes(data)
    for number, content in enumerate(["\n".join(trust).encode()] * bool(trust) + against):
        kept = tmp_path / f"kept {number}"
        kept.write_bytes(content)
        options += ["--trust" if trust and number == 0 else "--against", str(kept)]
    exit_code = main([str(file), "--json", *options])
    if exit_code == 2:
        assert first(file, *options) == REFUSED
        return
    report = json.loads(capsys.readouterr().out)
    assert first(file, *options) == answer(exit_code, {(finding["code"], finding.get("seq")) for finding in report["findings"]})
    run = subprocess.run([str(PROGRAM), "verify", str(file), "--json", *options], capture_output=True, check=False, timeout=120)
    assert json.loads(run.stdout)["outside"] == report["outside"]


@pytest.mark.parametrize("name", ["report.html", "report.zh-CN.html", "report.fr.html"])
def test_both_take_the_reports_that_an_export_carries_and_no_other_page(name, tmp_path):
    data = zipped(unzipped(data_of("040")) | {name: b"<p>whatever it says</p>"})
    file = tmp_path / "bundle.zip"
    file.write_bytes(data)
    assert second(data) == first(file) == (REFUSED if "fr" in name else (0, set()))
