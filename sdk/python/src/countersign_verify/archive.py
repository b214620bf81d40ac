"""The zip file of a bundle, read so that no other reader can see anything else in it (docs/format.md §9)."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from .findings import Malformed

_END = struct.Struct("<4s4H2LH")
# What stands before the end when there are more files than it can count: a larger end, and where that begins.
_LARGE_END = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_UNFIT = "zip file: something stands before or behind it, or its end does not fit it"
MAX_FILES = 1_000_000


class NotAZip(Exception):
    """It has no end, or no directory, of a zip file: it is something else, or cut off."""


def read(data: bytes, limit_of) -> dict[str, bytes]:
    """All files by name. `limit_of(name)` is how long a file of that name may be, or None where there is none of that name."""
    if data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557), max(0, len(data) - _END.size + 4)) < 0:
        raise NotAZip("not a bundle, or cut off: there is no end of a zip file")
    names = _layout(data)
    for name in names:
        if limit_of(name) is None:
            raise Malformed(f"`{name}`: this file does not belong to a bundle, or its entry is not listed")
    files: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                files[info.filename] = _inflate(archive, info, limit_of(info.filename))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError, struct.error) as error:
        raise Malformed(f"zip file: {error}") from error
    if list(files) != names:
        raise Malformed("zip file: two readers see different files in it")
    return files


def _inflate(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int | None) -> bytes:
    if limit is None or info.file_size > limit:
        raise Malformed(f"`{info.filename}`: larger than it may be")
    with archive.open(info) as stream:
        # One byte more than it says: what is longer than its header is no bundle, and is not read to its end.
        content = stream.read(info.file_size + 1)
    if len(content) != info.file_size:
        raise Malformed(f"`{info.filename}`: not as long as it says")
    return content


def _layout(data: bytes) -> list[str]:
    """The names in the central directory, after checking that headers, files, directory and end fill the file without a gap."""
    end_at = len(data) - _END.size
    if end_at < 0 or data[end_at : end_at + 4] != b"PK\x05\x06":
        raise Malformed("zip file: something stands behind it, or it has a comment")
    end_at, total, size, offset = _directory(data, end_at)
    if offset + size > end_at or (total and data[end_at - size :][:4] != b"PK\x01\x02"):
        raise NotAZip("not a bundle, or cut off: the zip file has no directory where its end says")
    if offset + size != end_at:
        raise Malformed(_UNFIT)
    if total > MAX_FILES:
        raise Malformed(f"zip file: more than {MAX_FILES} files")
    names: list[str] = []
    at, place = offset, 0
    for _ in range(total):
        if at + _CENTRAL.size > end_at:
            raise NotAZip("not a bundle, or cut off: the zip file's directory ends too early")
        field = _CENTRAL.unpack_from(data, at)
        if field[0] != b"PK\x01\x02":
            raise NotAZip("not a bundle, or cut off: the zip file's directory cannot be read")
        name_size, extra_size, comment_size = field[10:13]
        name = data[at + _CENTRAL.size : at + _CENTRAL.size + name_size]
        if extra_size or comment_size or field[16] != place:
            raise Malformed("zip file: an entry of its directory that is not as in a bundle, or files that are not one behind the other")
        place = _local(data, place, field, name, offset)
        names.append(_name(name))
        at += _CENTRAL.size + name_size
    if at != end_at or place != offset:
        raise Malformed("zip file: something stands between its parts")
    if len(set(names)) != len(names):
        raise Malformed("zip file: two files of one name")
    return names


def _directory(data: bytes, end_at: int) -> tuple[int, int, int, int]:
    """Where the directory ends, of how many files it is, its size and where it begins."""
    _, disk, start_disk, here, total, size, offset, comment = _END.unpack_from(data, end_at)
    if disk or start_disk or here != total or comment:
        raise Malformed(_UNFIT)
    locator_at = end_at - _LOCATOR.size
    if locator_at < 0 or data[locator_at : locator_at + 4] != b"PK\x06\x07":
        return end_at, total, size, offset
    large_at = locator_at - _LARGE_END.size
    if large_at < 0 or _LOCATOR.unpack_from(data, locator_at)[1:] != (0, large_at, 1):
        raise Malformed(_UNFIT)
    magic, length, _, _, disk, start_disk, here, count, large_size, large_offset = _LARGE_END.unpack_from(data, large_at)
    if (magic, length, disk, start_disk, here) != (b"PK\x06\x06", _LARGE_END.size - 12, 0, 0, count):
        raise Malformed(_UNFIT)
    # What does not fit into the end has all its bits set there.
    if total != min(count, 0xFFFF) or size not in (large_size, 0xFFFFFFFF) or offset not in (large_offset, 0xFFFFFFFF):
        raise Malformed(_UNFIT)
    return large_at, count, large_size, large_offset


def _local(data: bytes, at: int, central: tuple, name: bytes, end: int) -> int:
    """Checks a local header against the directory's; gives the place behind the file."""
    if at + _LOCAL.size > end:
        raise Malformed("zip file: a file that is cut off")
    local = _LOCAL.unpack_from(data, at)
    # version, flags, method, time, date, CRC and both sizes must be the same in both.
    if local[0] != b"PK\x03\x04" or local[1:9] != central[2:10] or local[10]:
        raise Malformed("zip file: a local header that its directory has otherwise")
    if local[2] & ~0x0806 or local[3] not in (0, 8):
        raise Malformed("zip file: encrypted, streamed, or packed in another way than deflated")
    begin = at + _LOCAL.size + local[9]
    if data[at + _LOCAL.size : begin] != name or begin + local[7] > end:
        raise Malformed("zip file: a local header that its directory has otherwise")
    return begin + local[7]


def _name(name: bytes) -> str:
    try:
        return name.decode("ascii")
    except UnicodeDecodeError as error:
        raise Malformed("zip file: a name that is not ASCII") from error
