//! What is different when an upstream is the endpoint of a language model: what it is told is compared with what was observed and kept message by
//! message; what it proposes is on record before the agent takes the answer for finished. What the APIs say is read in
//! `countersign_authorize::model`.

mod asking;
mod closing;
mod listening;

pub use self::{asking::Asking, listening::Listening};
pub(crate) use self::{
    closing::{Closing, close},
    listening::{KEPT_ANSWER_BYTES, MAX_ANSWER_BYTES},
};

use countersign_authorize::catalogue::{Catalogue, Protocol};

/// Whether a catalogue is of a model's endpoint.
pub fn is_model(catalogue: &Catalogue) -> bool {
    catalogue.protocol() == Protocol::Model
}
