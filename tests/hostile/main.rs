//! Hostile requests, as bytes over TCP against the real gateway: each is refused for the reason expected, and the API never sees it. Good requests among
//! them show that what is fine passes, in its one spelling.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test that fails should stop where it fails"
)]

#[path = "../../authorize/src/request/tests/corpus.rs"]
mod corpus;
mod floods;
mod http1;
mod http2;
mod llhttp;
#[allow(dead_code, reason = "the driver of the real binary, which other tests use more of")]
#[path = "../cli/sidecar.rs"]
mod sidecar;
#[path = "../cli/stub.rs"]
mod stub;
mod world;
