//! `[ledger.hsm]`: the gateway's key in a hardware module.

use std::path::PathBuf;

use anyhow::bail;
use countersign_ledger::keys;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{oauth::Secret, upstream::secret};
use crate::hsm::Place;

/// `[ledger.hsm]`: a key that signs checkpoints, in a hardware module (PKCS#11). Beside it may be `gateway*.pem`; then all of them sign.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hsm {
    /// The module's shared library, such as `/usr/lib/softhsm/libsofthsm2.so`.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The label of the key pair: Ed25519 (`EC:edwards25519`), with which the module signs by `CKM_EDDSA`.
    pub key: String,
    /// The user's PIN; its file must be readable by its owner only.
    pub pin: Secret,
}

impl Hsm {
    pub(crate) fn place(&self) -> anyhow::Result<Place> {
        let pin = match (&self.pin.file, &self.pin.environment) {
            (Some(file), None) => keys::read_private(file)?.to_string(),
            (None, Some(name)) => secret(None, Some(name))?,
            _ => bail!("`[ledger.hsm]`: `pin` needs either `file` or `environment`"),
        };
        Ok(Place {
            module: self.module.clone(),
            token: self.token.clone(),
            key: self.key.clone(),
            pin: pin.trim_end_matches(['\r', '\n']).to_owned().into(),
        })
    }
}
