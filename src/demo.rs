//! `countersign demo`: a sample bank, the sidecar, and an agent that follows injected text.

pub mod bank;
pub mod cases;

pub use bank::BankArgs;
