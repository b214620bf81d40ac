//! From a call, an instruction or a time window to its causal chain, link by link
