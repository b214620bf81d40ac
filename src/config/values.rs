//! Values that say at once, with line and column, when they are not what they must be.

use std::path::PathBuf;

use countersign_ledger::checkpoint::is_key_name;
use countersign_proxy::settings;
use http::{HeaderName, Uri};
use schemars::JsonSchema;
use serde::Deserialize;

/// One file or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a path, or a list of paths")]
pub enum Files {
    /// One.
    One(PathBuf),
    /// Several, or none.
    Several(Vec<PathBuf>),
}

impl Default for Files {
    fn default() -> Files {
        Files::Several(Vec::new())
    }
}

impl Files {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &PathBuf> {
        match self {
            Files::One(path) => std::slice::from_ref(path).iter(),
            Files::Several(paths) => paths.iter(),
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        match self {
            Files::One(path) => std::slice::from_mut(path).iter_mut(),
            Files::Several(paths) => paths.iter_mut(),
        }
    }
}

/// A name that can name a key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct Origin(pub String);

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(name: String) -> Result<Origin, String> {
        if is_key_name(&name) && !name.contains("://") {
            Ok(Origin(name))
        } else {
            Err("the origin must be a URL without its scheme, without spaces or `+`, such as `bank.example/agents`"
                .to_owned())
        }
    }
}

/// Where a listener listens.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct Address(#[schemars(with = "String")] pub settings::Address);

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Address, String> {
        let address = text.parse().map_err(|error| {
            format!("`{text}` is no address ({error}): write `127.0.0.1:8180`, `unix:/path` or `systemd:name`")
        })?;
        Ok(Address(address))
    }
}

/// An absolute URL.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct Url(#[schemars(with = "String")] pub Uri);

impl TryFrom<String> for Url {
    type Error = String;

    fn try_from(text: String) -> Result<Url, String> {
        let url: Uri = text.parse().map_err(|error| format!("`{text}` is not a URL: {error}"))?;
        match (url.scheme_str(), url.authority()) {
            (Some("http" | "https"), Some(_)) => Ok(Url(url)),
            _ => Err(format!("`{text}` is not a URL with `http://` or `https://` and a host")),
        }
    }
}

/// A URL whose other end is known by its certificate, or on this machine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct SecureUrl(#[schemars(with = "String")] pub Uri);

impl TryFrom<String> for SecureUrl {
    type Error = String;

    fn try_from(text: String) -> Result<SecureUrl, String> {
        let Url(url) = Url::try_from(text)?;
        match settings::is_private(&url) {
            true => Ok(SecureUrl(url)),
            false => Err(format!("`{url}` is neither `https` nor on this machine: who answers there is not known")),
        }
    }
}

/// The SHA-256 of a secret.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct Digest(pub String);

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Digest, String> {
        match text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            true => Ok(Digest(text)),
            false => {
                Err("`sha256` is not 64 lower-case hexadecimal digits; make one with `countersign keys new`".to_owned())
            }
        }
    }
}

/// A header's name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct Header(#[schemars(with = "String")] pub HeaderName);

impl TryFrom<String> for Header {
    type Error = String;

    fn try_from(text: String) -> Result<Header, String> {
        text.parse().map(Header).map_err(|_| format!("`{text}` is not a header name"))
    }
}
