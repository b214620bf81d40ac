//! A user, who sees what was done for them.

use countersign_ledger::record::Time;
use ed25519_dalek::SigningKey;
use serde_json::json;

use super::sign;
use crate::client::{Client, Error};

/// A user, with the key that is registered for them: what was done for them is theirs to see.
#[derive(Debug)]
pub struct User {
    api: String,
    origin: String,
    key: SigningKey,
}

impl User {
    /// A user of the sidecar with its API at `api`, whose ledger is `origin`.
    pub fn new(api: &str, origin: &str, key: SigningKey) -> User {
        User { api: api.to_owned(), origin: origin.to_owned(), key }
    }

    /// The bundle of an instruction of one's own: a file that `countersign verify` and `trace` read, and that proves it to others. `now` is the time.
    ///
    /// # Errors
    /// [`Error`]; what is somebody else's is answered like what is not there.
    pub async fn bundle(&self, instruction: &str, now: jiff::Timestamp) -> Result<Vec<u8>, Error> {
        let said = json!({ "origin": self.origin, "instruction": instruction, "time": Time::new(now) });
        let client = Client::new(&self.api, &sign("countersign-access+jwt", &said, &self.key)?)?;
        let answer = client.send("POST", "/v1/my/bundle", &[], None).await?;
        match answer.problem() {
            Some(problem) => Err(Error::Refused(Box::new(problem))),
            None => Ok(answer.body.to_vec()),
        }
    }
}
