//! What the tools say of a ledger.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    judge::Finding,
    sidecar::{BINARY, Sidecar, path},
    table::Evidence,
};

/// The findings of `countersign trace`, by instruction; none at all when this build's `trace` has no findings.
pub fn all_by_trace(sidecar: &Sidecar) -> anyhow::Result<Option<BTreeMap<String, Vec<Finding>>>> {
    let window = "2020-01-01T00:00:00Z/2100-01-01T00:00:00Z";
    let keys = sidecar.keys();
    let args =
        ["trace", path(&sidecar.ledger()), "--window", window, "--keys", path(&keys), "--json"].map(str::to_owned);
    read(&run(&args)?)
}

/// The findings of one instruction, if there are findings at all. Where values are withheld, of a bundle without them.
pub fn by_trace(sidecar: &Sidecar, instruction: &str, evidence: &Evidence) -> anyhow::Result<Option<Vec<Finding>>> {
    let mut args = vec!["trace".to_owned()];
    if evidence.has("values") {
        args.extend([path(&sidecar.ledger()), "--keys", path(&sidecar.keys())].map(str::to_owned));
    } else {
        args.push(path(&export(sidecar, instruction, "words")?).to_owned());
    }
    args.extend(["--instruction", instruction, "--json"].map(str::to_owned));
    let found = read(&run(&args)?)?;
    Ok(found.map(|found| found.into_values().flatten().collect()))
}

fn run(args: &[String]) -> anyhow::Result<String> {
    let output = std::process::Command::new(BINARY).args(args).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

fn read(text: &str) -> anyhow::Result<Option<BTreeMap<String, Vec<Finding>>>> {
    let said: Value = serde_json::from_str(text)?;
    let chains = said.as_array().or_else(|| said["chains"].as_array()).cloned().unwrap_or_default();
    let mut found: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    for chain in chains {
        let Some(findings) = chain.get("findings") else { return Ok(None) };
        let instruction = chain["instruction"].as_str().unwrap_or_default().to_owned();
        found.entry(instruction).or_default().extend(serde_json::from_value::<Vec<Finding>>(findings.clone())?);
    }
    Ok(Some(found))
}

/// A bundle of one instruction with the values of these names.
pub fn export(sidecar: &Sidecar, instruction: &str, disclose: &str) -> anyhow::Result<PathBuf> {
    let out = sidecar.dir.path().join(format!("{instruction}-{disclose}.zip"));
    let (code, text) = sidecar.export(instruction, disclose, &out);
    anyhow::ensure!(code == 0, "{text}");
    Ok(out)
}

/// The ledger's key, as somebody outside had it from the beginning.
pub fn vkey(sidecar: &Sidecar) -> String {
    let (_, listed) = sidecar.tool(&["keys", "list", path(&sidecar.ledger()), "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    listed["ledger"][0].as_str().unwrap().to_owned()
}

/// What the verifier finds, said of who keeps the ledger.
pub fn by_verify(
    sidecar: &Sidecar,
    of: &Path,
    vkey: &str,
    against: Option<&Path>,
) -> anyhow::Result<Option<Vec<Finding>>> {
    let trust = sidecar.dir.path().join("trust.txt");
    fs::write(&trust, vkey)?;
    let mut args = vec!["verify", path(of), "--trust", path(&trust)];
    args.extend(against.into_iter().flat_map(|against| ["--against", path(against)]));
    let (code, text) = sidecar.tool(&args);
    match code {
        0 => Ok(Some(vec![Finding::of_verify("judged", "not_determinable", &text)])),
        1 => Ok(Some(vec![Finding::of_verify("judged", "platform", "")])),
        _ => anyhow::bail!("{text}"),
    }
}
