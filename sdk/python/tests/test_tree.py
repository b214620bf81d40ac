"""The Merkle tree, against the plain definition of RFC 6962 §2.1."""

from __future__ import annotations

from hashlib import sha256

from forge import leaf, tree_path, tree_root

from countersign_verify import merkle

LEAVES = [leaf(str(number).encode()) for number in range(70)]


def test_roots_are_those_of_the_definition():
    for size in range(len(LEAVES) + 1):
        assert merkle.root(LEAVES[:size]) == tree_root(LEAVES[:size])
    assert merkle.root([]) == sha256(b"").digest()


def test_every_audit_path_leads_to_the_root_and_only_from_its_place():
    for size in range(1, 40):
        root = tree_root(LEAVES[:size])
        for index in range(size):
            path = tree_path(index, LEAVES[:size])
            assert merkle.climb(index, size, LEAVES[index], path) == root
            assert merkle.climb(index, size, LEAVES[index + 1], path) != root
            assert merkle.climb(index, size, LEAVES[index], [*path, bytes(32)]) is None
            assert index == size - 1 == 0 or merkle.climb(index, size, LEAVES[index], path[:-1]) is None
            assert all(merkle.climb(other, size, LEAVES[index], path) != root for other in range(size) if other != index)


def test_a_path_outside_of_the_tree_leads_nowhere():
    assert merkle.climb(5, 5, LEAVES[0], []) is None
    assert merkle.climb(0, 0, LEAVES[0], []) is None
    assert merkle.climb(2**64, 2**64 + 1, LEAVES[0], [bytes(32)] * 64) is None
