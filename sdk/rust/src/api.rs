//! The API's side: a tower layer that tells agents from persons, and gives each call of a gateway a signed receipt. `docs/receipts.md` has the protocol.
//!
//! ```no_run
//! use axum::{Extension, Router, routing::post};
//! use countersign_sdk::api::{Caller, Facts, GatewayKeys, ReceiptLayer};
//!
//! async fn pay(Extension(caller): Extension<Caller>, Extension(facts): Extension<Facts>) -> &'static str {
//!     if let Caller::Agent(agent) = caller {
//!         println!("an agent calls: {}", agent.agent);
//!     }
//!     facts.say(|execution| {
//!         execution.id = Some("tx-4711".into());
//!         execution.changed = Some(1);
//!     });
//!     "paid"
//! }
//!
//! # fn page(key: ed25519_dalek::SigningKey, gateway: countersign_ledger::statement::Jwk) -> Router {
//! Router::new().route("/pay", post(pay)).layer(ReceiptLayer::new(key, GatewayKeys::new([gateway])))
//! # }
//! ```

mod body;
mod keys;
mod layer;
mod seen;
mod store;

use std::sync::Arc;

use countersign_receipt::request;
use parking_lot::Mutex;

pub use self::{
    body::Body,
    keys::GatewayKeys,
    layer::{ReceiptLayer, ReceiptService},
    store::{Memory, Store},
};
pub use countersign_ledger::signed_text::SignedText;
pub use countersign_receipt::Execution;

/// Who calls, in the extensions of each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// An agent, through a gateway whose signature is good.
    Agent(Arc<request::Caller>),
    /// Somebody else: a person, or a program that does not come through a gateway that is known.
    Other,
}

/// What the receipt will say of the execution; in the extensions of each request of an agent's. A handler fills it in until its answer is whole.
#[derive(Debug, Clone, Default)]
pub struct Facts(Arc<Mutex<Execution>>);

impl Facts {
    /// Says something of the execution.
    pub fn say(&self, say: impl FnOnce(&mut Execution)) {
        say(&mut self.0.lock());
    }

    fn said(&self) -> Execution {
        self.0.lock().clone()
    }
}
