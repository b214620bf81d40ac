//! Tokens of an outside issuer (OAuth, OpenID Connect). Such a token says which agent it is, and nothing of what the agent may do: the agent names a grant
//! that the host gave to it, and that grant alone allows. So an issuer can widen nothing.

mod keys;

use std::{collections::BTreeMap, sync::Arc};

use countersign_authorize::Refusal;
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderName, request::Parts};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, jwk::Jwk};
use parking_lot::RwLock;
use serde::Deserialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

pub use self::keys::KeyList;
use self::keys::Keys;
use super::{Identify, Scheme, Who};
use crate::{
    settings::{self, ALGORITHMS},
    state::StateError,
};

/// The header by which an agent says under which grant it calls: `<instruction>/<grant>`.
pub const GRANT: HeaderName = HeaderName::from_static("countersign-grant");

/// The issuers that the gateway believes now.
pub struct Issuers(RwLock<Vec<Arc<Issuer>>>);

/// One of them.
pub(super) struct Issuer {
    settings: Arc<settings::Issuer>,
    keys: Arc<Keys>,
}

/// The head of a token, as far as it matters.
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// What a good token says.
#[derive(Debug, PartialEq)]
struct Outside {
    agent: String,
    /// The user that it is for, where the issuer says so.
    principal: Option<String>,
    /// The grant that it names, if it names one.
    grant: Option<String>,
    /// The key that it is bound to (RFC 9449 §6.1).
    jkt: Option<String>,
}

impl Issuers {
    /// These.
    pub fn new(issuers: Vec<settings::Issuer>) -> Issuers {
        let new = Issuers(RwLock::default());
        new.replace(issuers);
        new
    }

    /// Believes these from now on. One whose keys are where they were keeps those that it gave.
    pub(crate) fn replace(&self, issuers: Vec<settings::Issuer>) {
        let mut believed = self.0.write();
        let one = |settings: settings::Issuer| {
            let (settings, known) = (Arc::new(settings), believed.iter().map(|issuer| &issuer.keys));
            Arc::new(Issuer { keys: Keys::kept_or_new(known, settings.clone()), settings })
        };
        *believed = issuers.into_iter().map(one).collect();
    }

    /// What each is believed for, by name.
    pub(crate) fn texts(&self) -> BTreeMap<String, String> {
        self.0.read().iter().map(|issuer| (issuer.settings.issuer.clone(), issuer.settings.text())).collect()
    }

    /// The issuer that a token names, if it is one that is believed. Nothing of the token is checked yet.
    pub(super) fn of(&self, token: &str) -> Option<Arc<Issuer>> {
        let believed = self.0.read();
        if believed.is_empty() {
            return None;
        }
        let claims: Map<String, Value> = part(token, 1)?;
        let named = claims.get("iss")?.as_str()?;
        believed.iter().find(|issuer| issuer.settings.issuer == named).cloned()
    }
}

impl Identify {
    /// A token of an outside issuer says who the agent is; the grant that the agent names must be its own, for the user that the token is for.
    pub(super) async fn outside(
        &self,
        issuer: &Issuer,
        request: &Parts,
        scheme: Scheme,
        token: &str,
    ) -> Result<Who, Refusal> {
        let gateway = &self.context.gateway;
        let outside = issuer.check(token, gateway.now()).await?;
        let (instruction, grant) = named(&request.headers, &outside)?;
        // What is not known and what is another's are answered alike: nobody learns which grants there are.
        let of_other = || refuse("grant-of-other", "the grant is not known, or not one of this agent for this user");
        let live = gateway.live(&instruction).map_err(|error| match error {
            StateError::NoInstruction(_) => of_other(),
            _ => refuse("not-recorded", "the ledger cannot be read; try again later"),
        })?;
        let is_user = |principal: &String| gateway.vault.find(principal).as_ref() == Some(&live.subject);
        if !outside.principal.as_ref().is_none_or(is_user) {
            return Err(of_other());
        }
        let key = live.lock().state(&grant).and_then(|state| {
            let same = state.grant.agent == outside.agent;
            same.then(|| state.grant.key.clone())
        });
        let key = key.ok_or_else(of_other)?;
        self.holds(&outside.agent)?;
        // A token may be bound where the grant is not, and the other way; one proof must do for both.
        let bound = match (key, outside.jkt) {
            (Some(key), Some(jkt)) if key != jkt => {
                return Err(refuse("proof-invalid", "the token is bound to another key than the grant"));
            }
            (key, jkt) => key.or(jkt),
        };
        let proof = self.proves(request, scheme, token, bound.as_deref())?;
        let shown = (issuer.settings.issuer.clone(), Zeroizing::new(token.to_owned()));
        Ok(Who { live, grant, agent: outside.agent, outside: Some(shown), proof })
    }
}

impl Issuer {
    /// Checks a token.
    async fn check(&self, token: &str, now: Timestamp) -> Result<Outside, Refusal> {
        let check = Check(&self.settings);
        let (head, alg) = check.head(token)?;
        let key = self.keys.find(head.kid.as_deref(), alg).await?;
        check.token(token, alg, &key, now)
    }
}

/// Which agent a token is for, by keys that are at hand.
///
/// # Errors
/// Why it is not good.
pub fn agent_of(issuer: &settings::Issuer, keys: &KeyList, token: &str, now: Timestamp) -> Result<String, Refusal> {
    let check = Check(issuer);
    let (head, alg) = check.head(token)?;
    let key = keys.find(head.kid.as_deref(), alg);
    let key = key.ok_or_else(|| refuse("token-invalid", "the token's issuer has no such key"))?;
    check.token(token, alg, key, now).map(|outside| outside.agent)
}

/// What is checked of a token of an issuer.
struct Check<'s>(&'s settings::Issuer);

impl Check<'_> {
    /// What its head says, and how it is signed.
    fn head(&self, token: &str) -> Result<(Head, Algorithm), Refusal> {
        let invalid = |what: &str| refuse("token-invalid", what);
        let head: Head = part(token, 0).ok_or_else(|| invalid("the token's header cannot be read"))?;
        // The configuration decides which algorithms there are, and the key whether it is one for it (RFC 8725 §3.1).
        let known = ALGORITHMS.iter().find(|(name, _)| *name == head.alg).map(|(_, alg)| *alg);
        let alg = known.filter(|alg| self.0.algorithms.contains(alg));
        let alg = alg.ok_or_else(|| invalid("the token is signed in a way that its issuer is not configured for"))?;
        if head.crit.is_some() {
            // RFC 7515 §4.1.11: there is no extension that this gateway knows.
            return Err(invalid("the token has a header that must be understood and is not"));
        }
        if !self.is_kind(head.typ.as_deref()) {
            return Err(invalid("the token is of another type than an access token"));
        }
        Ok((head, alg))
    }

    fn token(&self, token: &str, alg: Algorithm, key: &Jwk, now: Timestamp) -> Result<Outside, Refusal> {
        let invalid = |what: &str| refuse("token-invalid", what);
        let key = DecodingKey::from_jwk(key).map_err(|_| invalid("the issuer's key cannot be used"))?;
        // Only the signature: what the claims say is checked below, against the gateway's own clock.
        let mut validation = Validation::new(alg);
        (validation.validate_exp, validation.validate_aud) = (false, false);
        validation.required_spec_claims.clear();
        let claims = decode::<Map<String, Value>>(token, &key, &validation)
            .map_err(|_| invalid("the token is not one that its issuer signed"))?
            .claims;
        self.is_for_here(&claims, now)?;
        self.read(&claims)
    }

    /// Whether a type is that of an access token (RFC 9068 §2.1), or says nothing where that is enough (RFC 8725 §3.11).
    fn is_kind(&self, typ: Option<&str>) -> bool {
        let typ = typ.map(str::to_ascii_lowercase);
        match typ.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ)) {
            Some("at+jwt") => true,
            None | Some("jwt") => !self.0.access_tokens_only,
            Some(_) => false,
        }
    }

    /// Whether it is of this issuer, for this gateway, and good now.
    fn is_for_here(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<(), Refusal> {
        let settings = self.0;
        let invalid = |what: &str| Err(refuse("token-invalid", what));
        if claims.get("iss").and_then(Value::as_str) != Some(&settings.issuer) {
            return invalid("the token is of another issuer");
        }
        let here = |aud: &Value| aud.as_str() == Some(&settings.audience);
        let meant = match claims.get("aud") {
            Some(Value::Array(several)) => several.iter().any(here),
            Some(one) => here(one),
            None => false,
        };
        if !meant {
            return invalid("the token is for another audience");
        }
        // RFC 7519 §2: a time may have a fraction.
        let time = |name: &str| claims.get(name).map(|time| time.as_f64().filter(|time| time.is_finite()));
        let (now, skew) = (now.as_duration().as_secs_f64(), settings.skew.as_secs_f64());
        match time("exp") {
            Some(Some(exp)) if exp + skew > now => {}
            Some(Some(_)) => return Err(refuse("token-expired", "the token is over; get a new one from its issuer")),
            Some(None) | None => return invalid("the token does not say when it ends"),
        }
        match time("nbf") {
            None => Ok(()),
            Some(Some(nbf)) if nbf - skew <= now => Ok(()),
            Some(_) => invalid("the token is not good yet"),
        }
    }

    /// What the claims say, by the names that the configuration gives them.
    fn read(&self, claims: &Map<String, Value>) -> Result<Outside, Refusal> {
        let settings = self.0;
        let invalid = |what: &str| refuse("token-invalid", what);
        let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let says =
            text(&settings.agent_claim).ok_or_else(|| invalid("the token does not say which agent it is for"))?;
        let agent = match settings.agents.is_empty() {
            true => says.to_owned(),
            false => settings.agents.get(says).cloned().ok_or_else(|| invalid("the token is for no agent here"))?,
        };
        let principal = match &settings.principal_claim {
            None => None,
            Some(name) => {
                let user = text(name).ok_or_else(|| invalid("the token does not say which user it is for"))?;
                Some(user.to_owned())
            }
        };
        let jkt = match claims.get("cnf") {
            None | Some(Value::Null) => None,
            // RFC 7800 §3.1: a binding that is not understood is none that was checked.
            Some(cnf) => match cnf.as_object().map(|cnf| (cnf.len(), cnf.get("jkt").and_then(Value::as_str))) {
                Some((1, Some(jkt))) => Some(jkt.to_owned()),
                _ => return Err(invalid("the token is bound to something that the gateway cannot check")),
            },
        };
        let grant = settings.grant_claim.as_deref().and_then(text).map(str::to_owned);
        Ok(Outside { agent, principal, grant, jkt })
    }
}

/// The grant that an agent names: in the header, or in the token; where both do, they must agree.
fn named(headers: &HeaderMap, outside: &Outside) -> Result<(String, String), Refusal> {
    let missing = || {
        refuse("grant-unnamed", "say in `Countersign-Grant: <instruction>/<grant>` under which grant the call is made")
    };
    let mut values = headers.get_all(&GRANT).iter();
    let header = values.next().map(|value| value.to_str()).transpose().map_err(|_| missing())?;
    let text = match (header, outside.grant.as_deref()) {
        (Some(header), Some(claim)) if header != claim => {
            return Err(refuse("grant-of-other", "the token is for another grant than `Countersign-Grant` says"));
        }
        (header, claim) => header.or(claim),
    };
    let named = text.filter(|_| values.next().is_none()).and_then(|text| text.split_once('/'));
    named.map(|(instruction, grant)| (instruction.to_owned(), grant.to_owned())).ok_or_else(missing)
}

/// A part of a token in compact form, read and not checked.
fn part<T: for<'de> Deserialize<'de>>(token: &str, at: usize) -> Option<T> {
    let bytes = BASE64URL_NOPAD.decode(token.split('.').nth(at)?.as_bytes()).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn refuse(code: &'static str, message: &str) -> Refusal {
    Refusal { code, message: message.to_owned() }
}
