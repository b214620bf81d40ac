//! What calls are judged by: catalogues and policies. They are replaced together, and only once the ledger has what changed; a call that is being
//! judged keeps those it began with.

use std::{collections::BTreeMap, sync::Arc};

use countersign_authorize::{
    catalogue::Catalogue,
    policy::{File, Policies},
};
use countersign_ledger::{
    Draft, Hash, Ledger,
    record::{StatePut, body},
};
use jiff::Timestamp;

use super::{Gateway, StateError};

/// What certificates are called among what is in force.
pub(crate) const CERTIFICATES: &str = "certificates";

/// What an outside issuer is called there.
pub(crate) const ISSUER: &str = "issuer";

/// How many catalogues that are in force no more are kept read.
const MAX_FORMER: usize = 64;

/// Catalogues and policies that are in force together.
#[derive(Debug, Default)]
pub struct Rules {
    catalogues: BTreeMap<String, Arc<Catalogue>>,
    policies: Option<Policies>,
    digests: Vec<Hash>,
}

impl Rules {
    pub(super) fn new(catalogues: BTreeMap<String, Arc<Catalogue>>, policies: Option<Policies>) -> Rules {
        let files = policies.iter().flat_map(|policies| policies.files()).map(|file| Hash::from(file.sha256()));
        let digests = catalogues.values().map(|catalogue| Hash::from(*catalogue.sha256())).chain(files).collect();
        Rules { catalogues, policies, digests }
    }

    /// The catalogue of an upstream.
    pub fn catalogue(&self, upstream: &str) -> Option<&Arc<Catalogue>> {
        self.catalogues.get(upstream)
    }

    /// All catalogues.
    pub fn catalogues(&self) -> impl Iterator<Item = &Catalogue> + Clone {
        self.catalogues.values().map(AsRef::as_ref)
    }

    /// The organisation's policies, if there are any.
    pub const fn policies(&self) -> Option<&Policies> {
        self.policies.as_ref()
    }

    /// The digests of catalogues and policy files, as records name them.
    pub fn digests(&self) -> &[Hash] {
        &self.digests
    }

    /// The digests of the catalogues alone.
    pub fn catalogue_digests(&self) -> Vec<Hash> {
        self.catalogues.values().map(|catalogue| Hash::from(*catalogue.sha256())).collect()
    }
}

impl Gateway {
    /// What is in force now. Whoever judges takes it once.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.read().clone()
    }

    /// An upstream's catalogue as it was when these policies were in force.
    pub fn catalogue_of(&self, upstream: &str, policies: &[Hash]) -> Option<Arc<Catalogue>> {
        let rules = self.rules();
        let now = rules.catalogue(upstream);
        if let Some(now) = now.filter(|now| policies.contains(&Hash::from(*now.sha256()))) {
            return Some(now.clone());
        }
        let mut former = self.former.lock();
        if former.len() >= MAX_FORMER {
            former.clear();
        }
        let mut read = policies.iter().filter_map(|hash| {
            let parse = || {
                let text = String::from_utf8(self.ledger.policy(hash)?).ok()?;
                Catalogue::parse(&text).ok().map(Arc::new)
            };
            former.entry(*hash).or_insert_with(parse).clone()
        });
        read.find(|catalogue| catalogue.upstream() == upstream)
    }

    /// The last change that was refused, and when; none once another came into force.
    pub fn refused(&self) -> Option<(Timestamp, String)> {
        self.refused.lock().clone()
    }

    /// Notes that a change was refused; what was in force is still.
    pub fn refuse_rules(&self, what: impl Into<String>) {
        *self.refused.lock() = Some((self.now(), what.into()));
    }

    /// Puts other catalogues and policies in force, once the ledger has what changed. Gives what that was.
    ///
    /// # Errors
    /// [`StateError`]; then what was in force is still.
    pub async fn replace_rules(
        &self,
        catalogues: Vec<(Catalogue, String)>,
        policies: Option<Policies>,
    ) -> Result<Vec<String>, StateError> {
        let mut recorded = self.recorded.lock().await;
        let (mut changed, mut known) = (Vec::new(), BTreeMap::new());
        for (catalogue, text) in catalogues {
            if recorded.catalogue(&self.ledger, &catalogue, &text).await? {
                changed.push(format!("catalogue {}", catalogue.upstream()));
            }
            known.insert(catalogue.upstream().to_owned(), Arc::new(catalogue));
        }
        for file in policies.iter().flat_map(|policies| policies.files()) {
            if recorded.file(&self.ledger, file).await? {
                changed.push(format!("policy {}", file.name));
            }
        }
        let file = |name: &str| policies.iter().flat_map(|p| p.files()).any(|file| file.name == name);
        let kept = |what: &str, name: &str| match what {
            "policy" => file(name),
            CERTIFICATES | ISSUER => true,
            _ => known.contains_key(name),
        };
        changed.extend(recorded.without(&self.ledger, kept).await?);
        *self.refused.lock() = None;
        *self.rules.write() = Arc::new(Rules::new(known, policies));
        Ok(changed)
    }

    /// Records the texts of a kind that are in force from now on, by name, where they are others than the ledger says. Gives what changed.
    ///
    /// # Errors
    /// [`StateError`].
    pub(crate) async fn replace_texts(
        &self,
        kind: &str,
        now: &BTreeMap<String, String>,
    ) -> Result<Vec<String>, StateError> {
        let (mut recorded, mut changed) = (self.recorded.lock().await, Vec::new());
        for (name, text) in now {
            if recorded.text(&self.ledger, (kind, name), text).await? {
                changed.push(format!("{kind} {name}"));
            }
        }
        let kept = |what: &str, name: &str| what != kind || now.contains_key(name);
        changed.extend(recorded.without(&self.ledger, kept).await?);
        Ok(changed)
    }
}

/// What the ledger says is in force: digests by `policy/<what>/<name>`. The store's own copy follows behind, so it is read once.
#[derive(Debug, Default)]
pub(super) struct Recorded(BTreeMap<String, Hash>);

impl Recorded {
    pub(super) fn load(ledger: &Ledger) -> Result<Recorded, StateError> {
        let rows = ledger.state(b"policy/")?.into_iter();
        let row = |(key, value)| Some((String::from_utf8(key).ok()?, String::from_utf8(value).ok()?.parse().ok()?));
        Ok(Recorded(rows.filter_map(row).collect()))
    }

    fn get(&self, what: &str, name: &str) -> Option<Hash> {
        self.0.get(&key(what, name)).copied()
    }

    /// Records a catalogue when it is not the one in force, or stands under another ceiling than before. Tells whether it did.
    pub(super) async fn catalogue(
        &mut self,
        ledger: &Ledger,
        catalogue: &Catalogue,
        text: &str,
    ) -> Result<bool, StateError> {
        let name = catalogue.upstream();
        let (mut cause, mut gone, mut anew) = (Vec::new(), Vec::new(), false);
        match catalogue.ceiling() {
            Some(ceiling) => {
                let parts = [("ceiling", &ceiling.text), ("ceiling-statement", &ceiling.statement)];
                anew = parts.iter().any(|(what, text)| self.get(what, name) != Some(Hash::of(text.as_bytes())));
                for (what, text) in parts.into_iter().filter(|_| anew) {
                    let by = &ceiling.kid;
                    cause.push(self.policy(ledger, (what, name), text, by, (Vec::new(), Vec::new())).await?);
                }
            }
            None => {
                let known = ["ceiling", "ceiling-statement"].into_iter().filter(|what| self.get(what, name).is_some());
                gone.extend(known.map(|what| key(what, name)));
            }
        }
        if !anew && gone.is_empty() && self.get("catalogue", name) == Some(Hash::from(*catalogue.sha256())) {
            return Ok(false);
        }
        self.policy(ledger, ("catalogue", name), text, "configuration", (cause, gone)).await?;
        Ok(true)
    }

    /// Records a policy file when it is not the one in force. Tells whether it did.
    async fn file(&mut self, ledger: &Ledger, file: &File) -> Result<bool, StateError> {
        self.text(ledger, ("policy", &file.name), &file.text).await
    }

    /// Records a text when it is not the one in force. Tells whether it did.
    async fn text(&mut self, ledger: &Ledger, (what, name): (&str, &str), text: &str) -> Result<bool, StateError> {
        if self.get(what, name) == Some(Hash::of(text.as_bytes())) {
            return Ok(false);
        }
        self.policy(ledger, (what, name), text, "configuration", (Vec::new(), Vec::new())).await?;
        Ok(true)
    }

    /// Records that catalogues and policies are in force no more, those that are not `kept`: in the place of each stands the empty text.
    async fn without(&mut self, ledger: &Ledger, kept: impl Fn(&str, &str) -> bool) -> Result<Vec<String>, StateError> {
        let split = |key: &String| {
            let (what, name) = key.strip_prefix("policy/")?.split_once('/')?;
            Some((what.to_owned(), name.to_owned()))
        };
        let all: Vec<(String, String)> = self.0.keys().filter_map(split).collect();
        let mut gone = Vec::new();
        for (what, name) in all.into_iter().filter(|(what, name)| !kept(what, name)) {
            let keys = vec![key(&what, &name)];
            self.policy(ledger, (&what, &name), "", "configuration", (Vec::new(), keys)).await?;
            gone.push(format!("{what} {name} (taken out)"));
        }
        Ok(gone)
    }

    /// Records a policy's text; gives the entry.
    async fn policy(
        &mut self,
        ledger: &Ledger,
        (what, name): (&str, &str),
        text: &str,
        by: &str,
        (cause, gone): (Vec<Hash>, Vec<String>),
    ) -> Result<Hash, StateError> {
        let (key, sha256) = (key(what, name), Hash::of(text.as_bytes()));
        ledger.keep_policy(text.as_bytes())?;
        let policy = body::Policy {
            what: what.to_owned(),
            name: name.to_owned(),
            sha256,
            size: text.len() as u64,
            replaces: self.0.get(&key).copied(),
            by: by.to_owned(),
            ..body::Policy::default()
        };
        let mut draft = Draft::new(&policy)?.caused_by(cause);
        let put = |key: &String| StatePut { key: key.clone().into_bytes(), value: None };
        draft.state.extend(gone.iter().map(put));
        if !gone.contains(&key) {
            draft.state.push(StatePut { value: Some(sha256.to_string().into_bytes()), ..put(&key) });
        }
        let entry = ledger.append(draft).await?.hash;
        self.0.insert(key, sha256);
        self.0.retain(|key, _| !gone.contains(key));
        Ok(entry)
    }
}

fn key(what: &str, name: &str) -> String {
    format!("policy/{what}/{name}")
}
