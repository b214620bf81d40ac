//! The Merkle tree of RFC 6962 §2.1 over SHA-256: every entry's bytes are a leaf.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::Hash;

/// A node's place: its level (0 for leaves) and its index within the level. It covers the leaves
/// `index << level .. (index + 1) << level`.
pub type Place = (u32, u64);

/// The hash of a leaf: SHA-256 of 0x00 and the entry's bytes.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(entry);
    Hash::from(<[u8; 32]>::from(hasher.finalize()))
}

/// The hash of an inner node: SHA-256 of 0x01, left and right.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    Hash::from(<[u8; 32]>::from(hasher.finalize()))
}

/// The right edge of a tree: its complete subtrees, largest first. Enough to append and to compute the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    // INVARIANT: one hash per one-bit of `size`, from the highest bit to the lowest.
    edge: Vec<Hash>,
}

impl Frontier {
    /// The edge of a tree of `size` leaves from its complete subtrees, largest first; `None` unless there is one for each one-bit of `size`.
    pub fn new(size: u64, edge: Vec<Hash>) -> Option<Frontier> {
        (edge.len() == size.count_ones() as usize).then_some(Frontier { size, edge })
    }

    /// How many leaves there are.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The complete subtrees, largest first.
    pub fn edge(&self) -> &[Hash] {
        &self.edge
    }

    /// Appends a leaf and gives every node that became complete by it to `node`, the leaf first.
    pub fn push(&mut self, leaf: Hash, mut node: impl FnMut(Place, Hash)) {
        let (mut hash, mut level, mut index) = (leaf, 0, self.size);
        node((level, index), hash);
        while index & 1 == 1 {
            let Some(left) = self.edge.pop() else { break };
            hash = node_hash(&left, &hash);
            level += 1;
            index >>= 1;
            node((level, index), hash);
        }
        self.edge.push(hash);
        self.size += 1;
    }

    /// The root; that of the empty tree is SHA-256 of nothing.
    pub fn root(&self) -> Hash {
        let mut subtrees = self.edge.iter().rev();
        match subtrees.next() {
            None => Hash::of(b""),
            Some(last) => subtrees.fold(*last, |right, left| node_hash(left, &right)),
        }
    }

    /// The complete subtrees with their places, largest first.
    pub fn nodes(&self) -> impl Iterator<Item = (Place, Hash)> + '_ {
        edge_places(self.size).into_iter().zip(self.edge.iter().copied())
    }
}

/// The places of the complete subtrees of a tree of `size` leaves, largest first.
pub fn edge_places(size: u64) -> Vec<Place> {
    (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1).map(|level| (level, (size >> level) - 1)).collect()
}

/// Whatever can give the hash of a complete subtree.
pub trait Nodes {
    /// The hash at `place`, or `None` when it is not held.
    fn node(&self, place: Place) -> Option<Hash>;
}

impl Nodes for BTreeMap<Place, Hash> {
    fn node(&self, place: Place) -> Option<Hash> {
        self.get(&place).copied()
    }
}

impl<F: Fn(Place) -> Option<Hash>> Nodes for F {
    fn node(&self, place: Place) -> Option<Hash> {
        self(place)
    }
}

/// The hash over the leaves `start..end`, where `start` is a multiple of the largest power of two that fits.
fn range_hash<N: Nodes + ?Sized>(nodes: &N, start: u64, end: u64) -> Option<Hash> {
    let width = end - start;
    if width == 0 {
        return None;
    }
    if width.is_power_of_two() && start.is_multiple_of(width) {
        return nodes.node((width.trailing_zeros(), start >> width.trailing_zeros()));
    }
    let split = split(width);
    Some(node_hash(&range_hash(nodes, start, start + split)?, &range_hash(nodes, start + split, end)?))
}

/// The largest power of two smaller than `width` (RFC 6962 §2.1).
const fn split(width: u64) -> u64 {
    1 << (u64::BITS - 1 - (width - 1).leading_zeros())
}

/// The root of the first `size` leaves, or `None` when a node is not held.
pub fn root_at<N: Nodes + ?Sized>(nodes: &N, size: u64) -> Option<Hash> {
    if size == 0 { Some(Hash::of(b"")) } else { range_hash(nodes, 0, size) }
}

/// The audit path of leaf `index` in the tree of `size` leaves (RFC 6962 §2.1.1), lowest first.
/// `None` when `index` is not below `size` or a node is not held.
pub fn inclusion_proof<N: Nodes + ?Sized>(nodes: &N, index: u64, size: u64) -> Option<Vec<Hash>> {
    if index >= size {
        return None;
    }
    let (mut start, mut end, mut path) = (0, size, Vec::new());
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(range_hash(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(range_hash(nodes, start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// The proof that the tree of `old` leaves is a prefix of that of `size` leaves (RFC 6962 §2.1.2).
/// `None` unless `0 < old <= size` and the nodes are held.
pub fn consistency_proof<N: Nodes + ?Sized>(nodes: &N, old: u64, size: u64) -> Option<Vec<Hash>> {
    if old == 0 || old > size {
        return None;
    }
    let (mut start, mut end, mut whole, mut path) = (0, size, true, Vec::new());
    while old != end {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(range_hash(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(range_hash(nodes, start, middle)?);
            start = middle;
            whole = false;
        }
    }
    if !whole {
        path.push(range_hash(nodes, start, end)?);
    }
    path.reverse();
    Some(path)
}

/// The root that an audit path leads to (RFC 9162 §2.1.3.2), or `None` when the path has the wrong length.
pub fn root_from_inclusion(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let mut hash = leaf;
    let reached = climb(index, size - 1, path.iter(), |left, sibling| {
        hash = if left { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) };
    });
    reached.then_some(hash)
}

/// Goes up from a node, of which `last` is the last one on its level, and tells `join` each sibling on the way and whether it stands on the left. False
/// when the path does not end at the root.
fn climb<'p>(
    mut node: u64,
    mut last: u64,
    path: impl Iterator<Item = &'p Hash>,
    mut join: impl FnMut(bool, &Hash),
) -> bool {
    for sibling in path {
        if last == 0 {
            return false;
        }
        let left = node & 1 == 1 || node == last;
        join(left, sibling);
        // A node without a right neighbour goes up as it is, until it has a left one.
        while left && node & 1 == 0 && node != 0 {
            node >>= 1;
            last >>= 1;
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0
}

/// Whether `path` proves that the tree (`old`, `old_root`) is a prefix of (`size`, `root`) (RFC 9162 §2.1.4.2).
pub fn is_consistent(old: u64, old_root: Hash, size: u64, root: Hash, path: &[Hash]) -> bool {
    if old == size {
        return path.is_empty() && old_root == root;
    }
    if old == 0 || old > size {
        return false;
    }
    let mut path = path.iter();
    let first = if old.is_power_of_two() { Some(&old_root) } else { path.next() };
    let Some(first) = first else { return false };
    let (mut node, mut last) = (old - 1, size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut hash) = (*first, *first);
    let reached = climb(node, last, path, |left, sibling| {
        if left {
            (old_hash, hash) = (node_hash(sibling, &old_hash), node_hash(sibling, &hash));
        } else {
            hash = node_hash(&hash, sibling);
        }
    });
    reached && old_hash == old_root && hash == root
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6962 §2.1, word for word.
    fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::of(b""),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
                node_hash(&naive_root(left), &naive_root(right))
            }
        }
    }

    #[test]
    fn frontier_proofs_and_the_definition_agree() {
        let (mut frontier, mut nodes, mut leaves) = (Frontier::default(), BTreeMap::new(), Vec::new());
        let mut roots = vec![Hash::of(b"")];
        for n in 0..70_u64 {
            leaves.push(leaf_hash(&n.to_be_bytes()));
            frontier.push(leaves[n as usize], |place, hash| {
                nodes.insert(place, hash);
            });
            assert_eq!(frontier.root(), naive_root(&leaves));
            assert_eq!(root_at(&nodes, n + 1), Some(frontier.root()));
            assert_eq!(Frontier::new(frontier.size(), frontier.edge().to_vec()).as_ref(), Some(&frontier));
            roots.push(frontier.root());
        }
        for size in 1..=70_u64 {
            for index in 0..size {
                let path = inclusion_proof(&nodes, index, size).unwrap();
                let root = root_from_inclusion(leaves[index as usize], index, size, &path);
                assert_eq!(root, Some(roots[size as usize]));
                assert_ne!(root_from_inclusion(leaves[index as usize], index ^ 1, size, &path), root);
            }
            for old in 1..=size {
                let path = consistency_proof(&nodes, old, size).unwrap();
                assert!(is_consistent(old, roots[old as usize], size, roots[size as usize], &path), "{old} {size}");
                assert!(!is_consistent(old, roots[old as usize - 1], size, roots[size as usize], &path));
            }
        }
    }
}
