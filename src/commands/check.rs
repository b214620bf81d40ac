//! `countersign check`.

use super::say;
use crate::{cli::ConfigArgs, config::Config};

pub fn run(args: &ConfigArgs) -> anyhow::Result<u8> {
    let config = Config::read(&args.config)?;
    let mut actions = 0;
    for (catalogue, _) in config.catalogues()? {
        actions += catalogue.actions().len();
        for warning in catalogue.warnings() {
            say(format_args!("warning: catalogue of `{}`: {warning}", catalogue.upstream()))?;
        }
    }
    let settings = config.settings()?;
    for role in ["host", "approver", "operator", "investigator"] {
        let known = config.credential.iter().any(|credential| serde_json::json!(credential.role) == role);
        if !known {
            say(format_args!(
                "warning: nobody has a credential of role `{role}`; make one with `countersign keys new {role} --party NAME`"
            ))?;
        }
    }
    say(format_args!(
        "good: {} upstreams, {actions} actions, {} credentials",
        settings.upstreams.len(),
        config.credential.len()
    ))?;
    Ok(0)
}
