//! Catalogues and policies by digest, as calls name them.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use countersign_authorize::{
    catalogue::Catalogue,
    policy::{File, Policies},
};
use countersign_ledger::{Hash, Kind, evidence::Evidence};

use super::{Instead, Missing, Why};

/// What was in force together.
pub(super) struct InForce {
    catalogues: BTreeMap<String, Arc<Catalogue>>,
    policies: Option<Policies>,
}

impl InForce {
    pub(super) fn catalogue(&self, upstream: &str) -> Option<&Catalogue> {
        self.catalogues.get(upstream).map(AsRef::as_ref)
    }

    pub(super) const fn policies(&self) -> Option<&Policies> {
        self.policies.as_ref()
    }
}

type Read = Result<Arc<InForce>, Missing>;

/// Every catalogue and policy of the evidence.
pub(super) struct Library<'e> {
    evidence: &'e Evidence,
    instead: &'e Instead,
    /// What each digest is, and its name.
    named: BTreeMap<Hash, (String, String)>,
    catalogues: BTreeMap<Hash, Arc<Catalogue>>,
    together: RefCell<BTreeMap<Vec<Hash>, Read>>,
}

impl<'e> Library<'e> {
    pub(super) fn new(evidence: &'e Evidence, instead: &'e Instead) -> Library<'e> {
        let entries = evidence.items.values().filter(|item| item.entry.kind == Kind::Policy);
        let named: BTreeMap<Hash, (String, String)> = entries
            .filter_map(|item| {
                let text = |name| item.entry.text(name).map(str::to_owned);
                Some((text("sha256")?.parse().ok()?, (text("what")?, text("name")?)))
            })
            .collect();
        let of_kind = named.iter().filter(|(_, (what, _))| what == "catalogue");
        let read = of_kind.filter_map(|(hash, _)| {
            // Bytes that are not those of the digest were not in force.
            let bytes = evidence.policies.get(hash).filter(|bytes| Hash::of(bytes) == *hash)?;
            Some((*hash, Arc::new(Catalogue::parse(std::str::from_utf8(bytes).ok()?).ok()?)))
        });
        let catalogues = read.collect();
        Library { evidence, instead, named, catalogues, together: RefCell::default() }
    }

    /// An upstream's catalogue as it was. What was observed then was observed by it, whatever one judges by now.
    pub(super) fn catalogue(&self, upstream: &str, policies: &[Hash]) -> Option<Arc<Catalogue>> {
        let mut known = policies.iter().filter_map(|hash| self.catalogues.get(hash));
        known.find(|catalogue| catalogue.upstream() == upstream).cloned()
    }

    /// What a call was judged by, or is to be judged by instead.
    pub(super) fn in_force(&self, digests: &[Hash]) -> Read {
        if let Some(known) = self.together.borrow().get(digests) {
            return known.clone();
        }
        let read = self.read(digests).map(Arc::new);
        self.together.borrow_mut().insert(digests.to_vec(), read.clone());
        read
    }

    fn read(&self, digests: &[Hash]) -> Result<InForce, Missing> {
        let (mut catalogues, mut files) = (BTreeMap::new(), Vec::new());
        // An empty file says nothing; the same digest also stands for what was taken out.
        for hash in digests.iter().filter(|hash| **hash != Hash::of(b"")) {
            let absent = || (Why::Missing, format!("the catalogue or policy {hash} is not in the evidence"));
            let (what, name) = self.named.get(hash).ok_or_else(absent)?;
            if what == "catalogue" {
                let catalogue = self.catalogues.get(hash).ok_or_else(absent)?;
                catalogues.insert(catalogue.upstream().to_owned(), catalogue.clone());
            } else {
                let bytes = self.evidence.policies.get(hash).filter(|bytes| Hash::of(bytes) == *hash);
                let text = bytes.and_then(|bytes| String::from_utf8(bytes.clone()).ok()).ok_or_else(absent)?;
                files.push(File { name: name.clone(), text });
            }
        }
        for catalogue in &self.instead.catalogues {
            catalogues.insert(catalogue.upstream().to_owned(), Arc::new(catalogue.clone()));
        }
        let files = self.instead.policies.clone().unwrap_or(files);
        let policies = match files.is_empty() {
            true => None,
            false => {
                let parsed = Policies::parse(files, catalogues.values().map(AsRef::as_ref));
                Some(parsed.map_err(|error| (Why::Missing, error.to_string()))?)
            }
        };
        Ok(InForce { catalogues, policies })
    }
}
