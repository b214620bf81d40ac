//! The sample bank's tasks and content, as the demo has them.

#![allow(dead_code, unused_imports, reason = "the demo needs more of it, and has tests of its own")]

pub mod bank;
#[path = "../../../src/demo/cases.rs"]
pub mod cases;
