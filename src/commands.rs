//! What each command does, thin: the work is in the crates.

pub mod keys;
