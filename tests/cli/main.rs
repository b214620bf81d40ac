//! Drives the real binary: the sidecar, its API and its tools, over real connections.

mod sidecar;

mod agent_cannot_widen;
mod life;
mod openapi;
mod tools;
