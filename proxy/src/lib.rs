//! The gateway: the way of a call as tower layers, and the API for host, agent, approver, operator and investigator.

pub mod api;
pub mod problem;
pub mod state;
pub mod token;
