"""Every golden and every tampered bundle, through the command: the set of codes is exactly the expected one, and so is the exit code.

How often a code is found, at which entry and in which words is not in `expected.json`; that both verifiers agree on the entries too is
tested in `test_agreement.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from golden import BUNDLES, FOLDER, ROOT, TRUST

from countersign_verify.cli import main

SOURCE = str(ROOT / "sdk/python/src")


@pytest.fixture
def trust(tmp_path):
    file = tmp_path / "trust.txt"
    file.write_text("\n".join(TRUST) + "\n", encoding="utf-8")
    return str(file)


def arguments(bundle: dict, trust: str) -> list[str]:
    against = ["--against", str(FOLDER / bundle["against"])] if "against" in bundle else []
    return [str(FOLDER / bundle["file"]), "--trust", trust, *against]


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle["file"][:3])
def test_codes_and_exit_code_are_the_expected_ones(bundle, trust, capsys):
    exit_code = main([*arguments(bundle, trust), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert sorted({finding["code"] for finding in report["findings"]}) == bundle["codes"]
    assert exit_code == (1 if bundle["codes"] else 0)
    places = [(finding["code"] != "key-not-trusted", finding.get("seq", 2**64)) for finding in report["findings"]]
    assert places == sorted(places), "the wrong key, which explains the rest, and then the first bad entry first"


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle["file"][:3])
def test_the_text_names_every_code(bundle, trust, capsys):
    main(arguments(bundle, trust))
    text = capsys.readouterr().out
    assert all(f"[{code}]" in text for code in bundle["codes"])
    assert bundle["codes"] or text.rstrip().splitlines()[-1].startswith("clean")


def test_without_anything_from_outside_it_is_self_consistent_only(capsys):
    assert main([str(FOLDER / "041-no-lie-the-whole-ledger.zip")]) == 0
    assert "self-consistent only" in capsys.readouterr().out


def test_it_is_a_command_too(trust):
    bundle = BUNDLES[0]
    command = [sys.executable, "-m", "countersign_verify", *arguments(bundle, trust)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=os.environ | {"PYTHONPATH": SOURCE})
    assert (run.returncode, run.stderr) == (1, "")
    assert "[grant-unknown]" in run.stdout


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04", b"PK\x05\x06" + bytes(5)])
def test_what_is_no_zip_file_has_exit_code_2(tmp_path, content, capsys):
    file = tmp_path / "bundle.zip"
    file.write_bytes(content)
    assert main([str(file)]) == 2
    assert capsys.readouterr().out == ""


def test_files_that_are_not_there_or_are_no_keys_have_exit_code_2(tmp_path, capsys):
    good = str(FOLDER / BUNDLES[0]["file"])
    junk = tmp_path / "junk"
    junk.write_bytes(b"\xff\x00junk")
    assert main([str(tmp_path / "missing.zip")]) == 2
    assert main([good, "--trust", str(junk)]) == 2
    assert main([good, "--against", str(junk)]) == 2
    assert "Traceback" not in capsys.readouterr().err
