//! `countersign demo`: a sample bank, the sidecar, and an agent that follows injected text.

pub mod bank;
pub mod cases;
pub mod model;
mod run;
mod world;

pub use bank::BankArgs;
pub use model::ModelArgs;
pub use run::{DemoArgs, run};
