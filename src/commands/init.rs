//! `countersign init`: a directory to start from.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};

use super::{keys::secret, say};
use crate::{
    cli::InitArgs,
    config::{Config, Origin, Url},
};

const CONFIGURATION: &str = include_str!("init/countersign.toml");
const CATALOGUE: &str = include_str!("init/api.toml");

/// The roles that get a secret, each with the party that it is for.
const ROLES: [(&str, &str); 4] =
    [("host", "app"), ("approver", "approver"), ("operator", "operator"), ("investigator", "investigator")];

pub fn run(args: &InitArgs) -> anyhow::Result<u8> {
    let origin = Origin::try_from(args.origin.clone()).map_err(anyhow::Error::msg)?;
    let url = Url::try_from(args.url.clone()).map_err(anyhow::Error::msg)?;
    let (config, catalogue) = (args.directory.join("countersign.toml"), args.directory.join("api.toml"));
    for file in [&config, &catalogue] {
        if file.exists() {
            bail!("`{}` is there already; nothing was written", file.display());
        }
    }
    let (mut rows, mut secrets) = (String::new(), Vec::new());
    for (role, party) in ROLES {
        let (secret, sha256) = secret(role)?;
        rows += &format!("[[credential]]\nrole = \"{role}\"\nparty = \"{party}\"\nsha256 = \"{sha256}\"\n\n");
        secrets.push((role, secret));
    }
    let text = CONFIGURATION
        .replace("{origin}", &origin.0)
        .replace("{url}", &url.0.to_string())
        .replace("{credentials}", rows.trim_end());
    fs::create_dir_all(&args.directory).with_context(|| format!("`{}` cannot be made", args.directory.display()))?;
    write(&config, &text)?;
    write(&catalogue, CATALOGUE)?;
    // What is written is what `check` accepts, or nothing was promised.
    Config::read(&config)?.settings()?;
    say(format_args!("Written: {} and {}.", config.display(), catalogue.display()))?;
    say(format_args!("\nThe secrets of the four roles, shown only now:\n"))?;
    for (role, secret) in secrets {
        say(format_args!("{role:<13} {secret}"))?;
    }
    say(format_args!(
        "\nNext: write down in {} what the API can do, then\n  countersign check --config {config}\n  countersign serve --config {config}",
        catalogue.display(),
        config = config.display()
    ))?;
    Ok(0)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("`{}` cannot be written", path.display()))
}
