//! `[approvals]`: where approvers answer with a passkey.

use anyhow::Context as _;
use countersign_proxy::settings;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[approvals]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approvals {
    /// Where a browser finds the API's listener, such as `https://approve.bank.example`.
    pub origin: String,
    /// The relying party's id of the passkeys; the origin's host when left out.
    pub rp_id: Option<String>,
}

impl Approvals {
    pub(super) fn settings(&self) -> anyhow::Result<settings::Approvals> {
        settings::Approvals::new(&self.origin, self.rp_id.as_deref())
            .with_context(|| format!("`[approvals]` with the origin `{}`", self.origin))
    }
}
