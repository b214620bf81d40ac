//! The way of a call: identify, authorize, record, forward, outcome, as tower layers
