//! The keys that receipts are checked with. Wherever they come from, they are registered in the ledger before they count, so that a verifier has them
//! too.

use std::{sync::Arc, time::Duration};

use countersign_ledger::statement::Jwk;
use countersign_receipt::directory;

use crate::{
    settings::{ReceiptKeys, Receipts},
    stack::Context,
    state::Gateway,
    upstream::{Upstream, fetch},
};

/// How often a list of keys is looked at again.
const AGAIN: Duration = Duration::from_secs(600);

/// How soon, when it could not be had.
const RETRY: Duration = Duration::from_secs(10);

/// Why the keys of an API cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("upstream `{upstream}`: the keys of its receipts: {what}")]
pub struct KeysError {
    upstream: String,
    what: String,
}

/// Registers the API as a party with the keys that are given.
///
/// # Errors
/// [`KeysError`], when the ledger does not take them.
pub async fn begin(gateway: &Gateway, upstreams: &[Arc<Upstream>]) -> Result<(), KeysError> {
    for (upstream, receipts) in giving(upstreams) {
        let fail = |what: String| KeysError { upstream: upstream.settings.name.clone(), what };
        if !gateway.registry.read().parties.contains_key(&receipts.party) {
            let role = "api_provider".to_owned();
            let party = gateway.party(receipts.party.clone(), role, None, None, "configuration".to_owned());
            party.await.map_err(|error| fail(error.to_string()))?;
        }
        if let ReceiptKeys::Pinned(keys) = &receipts.keys {
            follow(gateway, &receipts.party, keys, "configuration").await.map_err(fail)?;
        }
    }
    Ok(())
}

/// The APIs that give receipts.
fn giving(upstreams: &[Arc<Upstream>]) -> impl Iterator<Item = (&Arc<Upstream>, &Receipts)> {
    upstreams.iter().filter_map(|upstream| Some((upstream, upstream.settings.receipts.as_ref()?)))
}

/// Makes a list of keys the one that counts: what is new is registered, what `by` registered and is no longer listed is retired.
async fn follow(gateway: &Gateway, party: &str, keys: &[Jwk], by: &str) -> Result<(), String> {
    let known = |kid: &str| gateway.registry.read().keys.get(kid).cloned();
    for jwk in keys {
        let row = known(&jwk.thumbprint());
        if row.as_ref().is_some_and(|row| row.party != party) {
            return Err(format!("the key `{}` is registered for another party", jwk.thumbprint()));
        }
        // A key that somebody revoked or retired does not come back by being listed.
        if row.is_none() {
            gateway.key("registered", party, jwk, None, by).await.map_err(|problem| problem.detail)?;
        }
    }
    let gone: Vec<Jwk> = {
        let registry = gateway.registry.read();
        let listed = |kid: &String| keys.iter().any(|jwk| jwk.thumbprint() == *kid);
        let rows = registry.keys.iter().filter(|(kid, row)| row.good && row.party == party && !listed(kid));
        rows.filter(|(_, row)| row.by == by).map(|(_, row)| row.jwk.clone()).collect()
    };
    for jwk in gone {
        gateway.key("retired", party, &jwk, None, by).await.map_err(|problem| problem.detail)?;
    }
    Ok(())
}

/// Fetches the lists of keys again and again; never ends.
pub(super) async fn keep(context: Arc<Context>) {
    let mut replaced = context.upstreams.watch();
    loop {
        let upstreams = replaced.borrow_and_update().clone();
        let watches = giving(&upstreams).filter_map(|(upstream, receipts)| match &receipts.keys {
            ReceiptKeys::Listed(url) => {
                Some(watch(context.clone(), upstream.clone(), receipts.party.clone(), url.clone()))
            }
            ReceiptKeys::Pinned(_) => None,
        });
        // Dropped, and so ended, when the APIs are others.
        let _watching: tokio::task::JoinSet<()> = watches.collect();
        if replaced.changed().await.is_err() {
            return;
        }
    }
}

async fn watch(context: Arc<Context>, upstream: Arc<Upstream>, party: String, url: http::Uri) {
    loop {
        let fetched = match fetch(&upstream, &url).await {
            Ok(keys) => follow(&context.gateway, &party, &keys, &url.to_string()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &fetched {
            tracing::warn!(upstream = upstream.settings.name, %url, error, "the keys of its receipts cannot be had");
        }
        // A receipt of a key that nobody knows yet may be a sign that there is a new one.
        tokio::select! {
            () = tokio::time::sleep(if fetched.is_ok() { AGAIN } else { RETRY }) => {}
            () = context.unknown_key.notified() => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

async fn fetch(upstream: &Upstream, url: &http::Uri) -> Result<Vec<Jwk>, String> {
    // The list may lie with another host than the API.
    let list = fetch::fetch(&upstream.settings.name, upstream.settings.authorities.as_deref(), url).await?;
    let text = std::str::from_utf8(&list).map_err(|error| error.to_string())?;
    directory::read(text).ok_or_else(|| "it is no list of public keys".to_owned())
}
