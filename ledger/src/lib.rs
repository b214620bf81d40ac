//! Entries, chain, tree, checkpoints, writer, store, vault, verify and bundle of Countersign
