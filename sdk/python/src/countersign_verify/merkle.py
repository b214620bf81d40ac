"""The Merkle tree of RFC 6962 §2.1 with SHA-256."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256


def leaf(data: bytes) -> bytes:
    """Hash of a leaf."""
    return sha256(b"\x00" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes, with what is complete so far on a stack."""
    complete: list[bytes] = []
    for count, value in enumerate(leaves):
        # The ones at the end of the count are the subtrees that this leaf completes.
        while count & 1:
            value = node(complete.pop(), value)
            count >>= 1
        complete.append(value)
    if not complete:
        return sha256(b"").digest()
    total = complete.pop()
    while complete:
        total = node(complete.pop(), total)
    return total


def climb(index: int, size: int, leaf_hash: bytes, path: Sequence[bytes]) -> bytes | None:
    """The root that an audit path leads to (RFC 9162 §2.1.3.2); none when the path is not as long as it must be."""
    if not 0 <= index < size:
        return None
    place, last, value = index, size - 1, leaf_hash
    for step in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            value = node(step, value)
            # The last node of a level goes up alone until it is a right child.
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            value = node(value, step)
        place >>= 1
        last >>= 1
    return value if last == 0 else None
