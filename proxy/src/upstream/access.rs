//! Tokens that the gateway gets for itself (RFC 6749 §4.4), or for a user or an agent (RFC 8693), to be let into an API. Each is kept until shortly before
//! it ends; of those who need the same one, one asks and the others wait for its answer.

mod slots;

use std::{sync::Arc, time::Duration};

use data_encoding::BASE64;
use form_urlencoded::{Serializer, byte_serialize};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use serde::Deserialize;
use serde_json::Value;
use tokio::{sync::OwnedMutexGuard, task::JoinHandle, time::Instant};
use zeroize::Zeroizing;

use self::slots::{Slot, Slots};
use super::{UpstreamError, echo::Echo, fetch::Server};
use crate::settings::{Authentication, Credential, Obtain};

/// How long a token is taken to be good whose server does not say.
const LIFETIME: Duration = Duration::from_secs(300);

/// The longest that is believed: whoever says more is asked again.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The grant type and the types of tokens of RFC 8693.
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Gets one API's tokens.
pub(crate) struct Access {
    pub(crate) settings: Obtain,
    server: Server,
    slots: Slots,
}

/// A token that was got.
pub(crate) struct Held {
    pub(crate) credential: Credential,
    pub(crate) echo: Arc<Echo>,
    /// From when on another one is asked for.
    renew: Instant,
    /// From when on it is not used any more.
    until: Instant,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

/// For whom a token is.
pub(crate) struct Whom<'w> {
    /// Tells them apart; for the gateway itself it is empty.
    pub(crate) key: String,
    /// What is exchanged, made only when it is needed.
    pub(crate) exchanged: &'w (dyn Fn() -> Result<Vec<Exchanged>, String> + Sync),
}

/// A token that is exchanged.
pub(crate) struct Exchanged {
    /// `subject` or `actor`.
    pub(crate) role: &'static str,
    pub(crate) token: Zeroizing<String>,
    pub(crate) kind: &'static str,
}

/// What a token server answers (RFC 6749 §5).
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<Value>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl Access {
    pub(super) fn new(upstream: &str, settings: Obtain) -> Result<Arc<Access>, UpstreamError> {
        let name = format!("{upstream}: token server");
        let server = Server::new(&name, settings.authorities.as_deref(), &settings.endpoint)?;
        Ok(Arc::new(Access { settings, server, slots: Slots::default() }))
    }

    /// The token for somebody: one that is good, or a new one.
    ///
    /// # Errors
    /// Which credential cannot be had, and why; nothing of it or of what the server said but its error code.
    pub(crate) async fn get(self: &Arc<Access>, whom: &Whom<'_>) -> Result<Arc<Held>, String> {
        let slot = self.slots.of(&whom.key);
        if let Some(held) = slot.usable() {
            if Instant::now() >= held.renew
                && slot.may_ask()
                && let Ok(asking) = slot.asking.clone().try_lock_owned()
            {
                // In good time, so that nobody waits for it.
                drop(self.ask(slot.clone(), asking, self.form(whom)?));
            }
            return Ok(held);
        }
        let asking = slot.asking.clone().lock_owned().await;
        if let Some(held) = slot.usable() {
            return Ok(held);
        }
        // Whoever waited meanwhile is told the same: a server that does not answer is not asked once for each of them.
        if let Some(error) = slot.failed_just_now() {
            return Err(error);
        }
        let form = self.form(whom)?;
        self.ask(slot, asking, form).await.map_err(|_| self.failure("asking for it failed"))?
    }

    /// The API did not take a token (401). Whether there is or may be another one, so that it is worth to try again.
    pub(crate) fn refused(&self, whom: &Whom<'_>, held: &Arc<Held>) -> bool {
        self.slots.of(&whom.key).drop_refused(held)
    }

    /// Asks, in a task of its own: who goes away meanwhile does not end it for the others.
    fn ask(
        self: &Arc<Access>,
        slot: Arc<Slot>,
        asking: OwnedMutexGuard<()>,
        form: Zeroizing<String>,
    ) -> JoinHandle<Result<Arc<Held>, String>> {
        let access = self.clone();
        tokio::spawn(async move {
            let _asking = asking;
            let got = access.fetch(&form).await.map_err(|what| access.failure(&what));
            if let Err(error) = &got {
                tracing::warn!(error, "a credential cannot be had");
            }
            slot.put(&got);
            got
        })
    }

    fn failure(&self, what: &str) -> String {
        format!("the token of the client `{}` cannot be had from its token server: {what}", self.settings.client)
    }

    /// The request's body.
    fn form(&self, whom: &Whom<'_>) -> Result<Zeroizing<String>, String> {
        let settings = &self.settings;
        let exchanged = (whom.exchanged)().map_err(|what| self.failure(&what))?;
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", if exchanged.is_empty() { "client_credentials" } else { EXCHANGE });
        for Exchanged { role, token, kind } in &exchanged {
            form.append_pair(&format!("{role}_token"), token).append_pair(&format!("{role}_token_type"), kind);
        }
        let named = [("scope", &settings.scope), ("audience", &settings.audience), ("resource", &settings.resource)];
        for (name, value) in named.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            form.append_pair(name, value);
        }
        if settings.authentication == Authentication::Post {
            form.append_pair("client_id", &settings.client).append_pair("client_secret", &settings.secret);
        }
        Ok(Zeroizing::new(form.finish()))
    }

    async fn fetch(&self, form: &str) -> Result<Arc<Held>, String> {
        let body = Full::from(form.to_owned()).map_err(|never| match never {}).boxed_unsync();
        let mut request = Request::post(self.settings.endpoint.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json");
        if self.settings.authentication == Authentication::Basic {
            request = request.header(header::AUTHORIZATION, self.basic()?);
        }
        let begun = Instant::now();
        let request = request.body(body).map_err(|error| error.to_string())?;
        let (status, answer) = self.server.ask(request).await?;
        if !status.is_success() {
            return Err(refusal(status, &answer));
        }
        let granted: Granted =
            serde_json::from_slice(&answer).map_err(|_| "its answer has no `access_token`".to_owned())?;
        let kind = granted.token_type.as_deref().unwrap_or("Bearer");
        if !["bearer", "n_a"].iter().any(|known| kind.eq_ignore_ascii_case(known)) {
            return Err("its token is of a type that the gateway cannot use".to_owned());
        }
        let value = format!("{}{}", self.settings.prefix, *Zeroizing::new(granted.access_token));
        let credential = Credential::new(self.settings.header.clone(), value).map_err(|error| error.to_string())?;
        let seconds = granted.expires_in.as_ref().and_then(|value| match value {
            Value::String(text) => text.parse().ok(),
            value => value.as_u64(),
        });
        let life = seconds.map_or(LIFETIME, Duration::from_secs).min(LONGEST);
        Ok(Arc::new(Held {
            echo: Arc::new(Echo::new(credential.secret())),
            credential,
            renew: begun + life.saturating_sub((life / 5).min(Duration::from_secs(60))),
            // What is sent now must still be good when it arrives.
            until: begun + life.saturating_sub((life / 10).min(Duration::from_secs(10))),
        }))
    }

    /// RFC 6749 §2.3.1: both halves are encoded before they are put together.
    fn basic(&self) -> Result<HeaderValue, String> {
        let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let both = Zeroizing::new(format!("{}:{}", encode(&self.settings.client), encode(&self.settings.secret)));
        let text = Zeroizing::new(format!("Basic {}", BASE64.encode(both.as_bytes())));
        let mut value = HeaderValue::from_str(&text).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// What is said of a refusal: the error's code, if it is one, and nothing else that the server wrote.
fn refusal(status: StatusCode, answer: &[u8]) -> String {
    let code = serde_json::from_slice::<Refused>(answer).map(|refused| refused.error).unwrap_or_default();
    let is_code =
        !code.is_empty() && code.len() <= 40 && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    match is_code {
        true => format!("it answered {} (`{code}`)", status.as_u16()),
        false => format!("it answered {}", status.as_u16()),
    }
}
