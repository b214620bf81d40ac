//! Instruct, decide, call, answer; keep and check the proofs
