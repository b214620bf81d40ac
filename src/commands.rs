//! What each command does, thin: the work is in the crates.

pub mod check;
pub mod erase;
pub mod keys;
pub mod look;
pub mod repair;
pub mod serve;
pub mod verify;
