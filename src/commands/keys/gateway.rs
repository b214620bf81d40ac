//! The gateway's own keys: another one beside those that sign, and how long each takes.

use std::time::Instant;

use anyhow::{Context as _, bail};
use countersign_ledger::{Hash, checkpoint::VerifierKey, keys};
use serde_json::json;

use super::super::say;
use crate::{cli::ConfigArgs, config::Config, running};

/// How often `probe` signs.
const TIMES: usize = 200;

/// Makes a key that signs beside those that do, from the next start on.
pub(super) fn rotate(args: &ConfigArgs, as_json: bool) -> anyhow::Result<u8> {
    let config = Config::read(&args.config)?;
    let dir = config.keys();
    if !config.ledger.directory.join("journal").is_dir() {
        bail!("there is no ledger in `{}` yet; its key is made at the first start", config.ledger.directory.display());
    }
    let path = (2..10_000).map(|n| dir.join(format!("gateway-{n}.pem"))).find(|path| !path.exists());
    let path = path.context("there are too many keys")?;
    let key = keys::generate()?;
    keys::save(&path, &key)?;
    let vkey = VerifierKey::new(&config.origin.0, key.verifying_key())?.to_string();
    if as_json {
        return say(format_args!("{}", json!({ "file": path, "vkey": vkey }))).map(|()| 0);
    }
    say(format_args!("Made {} (mode 0600). Start the sidecar anew: from then on it signs too.\n", path.display()))?;
    say(format_args!("Give the new key to all who pinned the old one:\n\n{vkey}\n"))?;
    say(format_args!(
        "When they have it, stop the sidecar, move the old key's file out of {} and start again.",
        dir.display()
    ))?;
    Ok(0)
}

/// Signs with each key, and says how long it took.
pub(super) fn probe(args: &ConfigArgs, as_json: bool) -> anyhow::Result<u8> {
    let config = Config::read(&args.config)?;
    let keys = running::gateway_keys(&config)?;
    if keys.is_empty() {
        bail!("the gateway has no key yet; it is made at the first start");
    }
    for (place, signer) in keys {
        let mut times = Vec::with_capacity(TIMES);
        for n in 0..TIMES {
            let begun = Instant::now();
            signer.sign(n as u64, Hash::ZERO).with_context(|| format!("`{place}` does not sign"))?;
            times.push(begun.elapsed().as_micros());
        }
        times.sort_unstable();
        let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
        let (median, slow, vkey) = (at(50), at(99), signer.verifier());
        if as_json {
            let (median, slow) = (u64::try_from(median)?, u64::try_from(slow)?);
            say(format_args!(
                "{}",
                json!({ "key": place, "vkey": vkey.to_string(), "p50_us": median, "p99_us": slow })
            ))?;
        } else {
            say(format_args!(
                "{place}\n  {vkey}\n  {TIMES} signatures: {median} us the median, {slow} us the slowest in a hundred"
            ))?;
        }
    }
    Ok(0)
}
