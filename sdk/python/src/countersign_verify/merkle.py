"""The Merkle tree of RFC 6962 §2.1 with SHA-256."""

from __future__ import annotations

from hashlib import sha256

EMPTY = sha256(b"").digest()


def leaf(data: bytes) -> bytes:
    """Hash of a leaf."""
    return sha256(b"\x00" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


class Nodes:
    """The complete subtrees that are known: from leaves, and from the audit paths of good proofs.

    `(level, place)` is the subtree over the leaves from `place << level`, `1 << level` of them.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], bytes] = {}

    def put(self, level: int, place: int, value: bytes) -> None:
        self._known.setdefault((level, place), value)

    def get(self, level: int, place: int) -> bytes | None:
        """The subtree, worked out from its halves where those are known."""
        key = (level, place)
        if key in self._known:
            return self._known[key]
        if level == 0 or not self._anything_below(level, place):
            return None
        left = self.get(level - 1, 2 * place)
        right = self.get(level - 1, 2 * place + 1) if left is not None else None
        if left is None or right is None:
            return None
        self._known[key] = node(left, right)
        return self._known[key]

    def _anything_below(self, level: int, place: int) -> bool:
        # Bounds the search: of a subtree with nothing known in its first leaf's line, nothing can be worked out.
        return any((below, place << (level - below)) in self._known for below in range(level))

    def root(self, size: int) -> bytes | None:
        """The root over the first `size` leaves, if what is known is enough for it."""
        if size == 0:
            return EMPTY
        peaks: list[bytes] = []
        begin = 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                peak = self.get(level, begin >> level)
                if peak is None:
                    return None
                peaks.append(peak)
                begin += 1 << level
        root = peaks.pop()
        while peaks:
            root = node(peaks.pop(), root)
        return root


def climb(index: int, size: int, leaf_hash: bytes, path: list[bytes]) -> tuple[bytes, list[tuple[int, int, bytes]]] | None:
    """The root that an audit path leads to (RFC 9162 §2.1.3.2), and the complete subtrees met; none when its length is wrong."""
    if not 0 <= index < size:
        return None
    place, last, root = index, size - 1, leaf_hash
    level = 0
    met = [(0, index, leaf_hash)]
    for step in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            # A right child, or the last node of a level, which goes up alone until it is one.
            while not place & 1 and place:
                place >>= 1
                last >>= 1
                level += 1
            if not place & 1:
                return None
            met.append((level, place - 1, step))
            root = node(step, root)
        else:
            if (place + 2) << level <= size:
                met.append((level, place + 1, step))
            root = node(root, step)
        place >>= 1
        last >>= 1
        level += 1
    return (root, met) if last == 0 else None
