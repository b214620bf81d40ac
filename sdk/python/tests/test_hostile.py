"""Bundles made to harm whoever reads them: refused in bounded time and space, and never with a traceback."""

from __future__ import annotations

import io
import random
import resource
import struct
import zipfile

import pytest
from forge import Ledger, unzipped, zipped
from golden import data_of

from countersign_verify import Unreadable, verify

WHOLE = data_of("041")


def codes(data: bytes) -> list[str]:
    return [finding.code for finding in verify(data).findings]


def refused(data: bytes) -> bool:
    try:
        return codes(data) == ["bundle-malformed"]
    except Unreadable:
        return True


def with_file(name: str, content: bytes) -> bytes:
    return zipped(unzipped(WHOLE) | {name: content})


def test_a_file_that_unpacks_to_a_quarter_of_a_gigabyte_is_refused_and_not_unpacked():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("manifest.json", "w") as stream:
        for _ in range(256):
            stream.write(bytes(1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refused(out.getvalue())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_file_that_is_longer_than_its_header_says_is_refused():
    data = bytearray(with_file("keys.txt", b"x" * 100_000))
    size = struct.pack("<L", 100_000)
    assert data.count(size) == 2
    assert refused(bytes(data).replace(size, struct.pack("<L", 10)))


def test_many_files_over_the_same_bytes_are_refused():
    """The form of bomb that overlaps its files."""
    data = WHOLE
    end = len(data) - 22
    count, size, offset = struct.unpack_from("<H2L", data, end + 10)
    first_length = 46 + struct.unpack_from("<H", data, offset + 28)[0]
    first = data[offset : offset + first_length]
    directory = data[offset:end] + first
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count + 1, count + 1, size + len(first), offset, 0)
    assert refused(data[:offset] + directory + tail)


def test_a_bundle_of_more_files_than_the_end_of_a_zip_file_can_count_is_read_and_nothing_in_its_ends_can_be_changed():
    policies = {f"policies/{number:064x}": b"" for number in range(65_536)}
    data = zipped(unzipped(WHOLE) | policies)
    assert data[-42:-38] == b"PK\x06\x07"
    assert verify(data).clean
    for place in range(98):
        changed = bytearray(data)
        changed[place - 98] ^= 1
        # The versions of who wrote it say nothing of what is in it.
        assert refused(bytes(changed)) or place in range(12, 16), place


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", b"[" * 200_000),
        ("manifest.json", b'{"format":"countersign-bundle/1","origin":"o","entries":[' + b"1" * 10_000 + b"]}"),
        ("manifest.json", b'{"format":"countersign-bundle/1","origin":"o","entries":[-1]}'),
        ("manifest.json", b'{"format":"countersign-bundle/1","origin":"o","entries":[0.0]}'),
        ("manifest.json", b'{"format":"countersign-bundle/1","origin":"o","entries":[true]}'),
        ("manifest.json", b'{"format":"countersign-bundle/1","origin":"o","origin":"p","entries":[]}'),
        ("manifest.json", b'{"format":"countersign-bundle/1","origin":"\\ud800","entries":[]}'),
        ("manifest.json", b"null"),
        ("manifest.json", b"\xff"),
        ("keys.txt", b"\xff"),
        ("checkpoint.txt", b"\x00"),
        ("entries/0.json", b"{" * 60_000),
        ("entries/0.json", b'{"a":' + b"9" * 60_000 + b"}"),
        ("entries/0.json", b'"' + b"x" * 70_000 + b'"'),
        ("disclosures/3.json", b'{"words":{"disclosure":"W10"}}'),
        ("disclosures/3.json", b'{"words":{"disclosure":"!"}}'),
        ("disclosures/3.json", b'{"words":1,"words":1}'),
        ("disclosures/3.json", b"[]"),
        ("disclosures/03.json", b"{}"),
        ("proofs/3.tlog-proof", b""),
        ("policies/" + "A" * 64, b""),
        ("../../etc/passwd", b""),
        ("/etc/passwd", b""),
        ("entries/0.json/", b""),
    ],
)
def test_a_hostile_file_makes_the_bundle_malformed(name, content):
    assert codes(with_file(name, content)) == ["bundle-malformed"]


def test_every_missing_file_is_noticed():
    files = unzipped(WHOLE)
    for name in files:
        if name != "checkpoint.txt" and not name.startswith("disclosures/"):
            assert codes(zipped({other: content for other, content in files.items() if other != name})), name


def test_no_cut_and_no_flipped_bit_makes_a_traceback():
    generator = random.Random(7)
    for _ in range(400):
        place = generator.randrange(len(WHOLE))
        assert refused(WHOLE[:place])
        flipped = bytearray(WHOLE)
        flipped[place] ^= 1 << generator.randrange(8)
        try:
            verify(bytes(flipped))
        except Unreadable:
            pass


def test_values_of_any_type_in_any_place_make_no_traceback():
    generator = random.Random(11)
    strange = [None, True, -1, 2**53 - 1, "", [], {}, [[]], {"a": {}}, "\U0001f600", ["x"], [None]]
    base = Ledger.of(WHOLE)
    for _ in range(80):
        ledger = base.copy()
        body = generator.choice(ledger.entries)["body"]
        body[generator.choice(list(body))] = generator.choice(strange)
        verify(ledger.bundle())


def test_a_report_in_a_bundle_is_taken_and_nothing_in_it_is_believed():
    assert codes(with_file("report.html", b"<script>all is well</script>")) == codes(with_file("report.zh-CN.html", b"")) == []
    assert refused(with_file("report.txt", b"all is well"))
