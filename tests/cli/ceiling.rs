//! A catalogue that the API's provider signed is the most that a deployment may reach.

use std::fs;

use serde_json::Value;

use crate::sidecar::{Sidecar, countersign, path};

#[test]
fn nothing_above_the_providers_signed_catalogue_comes_into_force() {
    let mut sidecar = Sidecar::start();
    sidecar.stop();
    let at = |name: &str| sidecar.dir.path().join(name);
    let made =
        countersign(&["keys", "new", "user", "--party", "provider", "--out", path(&at("provider.pem")), "--json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    fs::write(at("provider.jwk"), made["register"].to_string()).unwrap();
    let own = fs::read_to_string(at("bank.toml")).unwrap();
    fs::write(at("ceiling.toml"), &own).unwrap();
    let sign = || {
        let signed = countersign(&["ceiling", path(&at("ceiling.toml")), "--sign-with", path(&at("provider.pem"))]);
        fs::write(at("ceiling.jws"), signed.stdout).unwrap();
    };
    sign();
    let config = fs::read_to_string(sidecar.config()).unwrap();
    let line = "ceiling = { catalogue = \"ceiling.toml\", signature = \"ceiling.jws\", key = \"provider.jwk\" }\n";
    fs::write(
        sidecar.config(),
        config.replacen("catalogue = \"bank.toml\"\n", &format!("catalogue = \"bank.toml\"\n{line}"), 1),
    )
    .unwrap();
    let check = || sidecar.tool(&["check", "--config", path(&sidecar.config())]);
    assert_eq!(check().0, 0, "{}", check().1);

    fs::write(at("bank.toml"), own.replacen("binds = true", "binds = false", 1)).unwrap();
    let (code, said) = check();
    assert!(code == 2 && said.contains("it binds in the ceiling") && said.contains("line 51, column 13"), "{said}");
    fs::write(at("bank.toml"), own.replacen("\"/transactions\"", "\"/admin\"", 1)).unwrap();
    assert!(check().1.contains("the ceiling has no `GET /admin`"), "{}", check().1);
    fs::write(at("bank.toml"), &own).unwrap();
    fs::write(at("ceiling.toml"), format!("{own}# one more line\n")).unwrap();
    assert!(check().1.contains("another SHA-256"), "{}", check().1);
    fs::write(at("ceiling.jws"), "e30.e30.AA").unwrap();
    assert_eq!(check().0, 2);
    sign();
    assert_eq!(check().0, 0);

    let policies = |sidecar: &Sidecar| {
        let entries = (0..40).map(|seq| sidecar.tool(&["show", path(&sidecar.ledger()), &seq.to_string(), "--json"]));
        let entries =
            entries.filter(|(code, _)| *code == 0).map(|(_, text)| serde_json::from_str::<Value>(&text).unwrap());
        let policies = entries.filter(|entry| entry["entry"]["kind"] == "policy").map(|entry| entry["entry"].clone());
        policies
            .map(|entry| {
                (entry["body"]["what"].as_str().unwrap().to_owned(), entry["parents"].as_array().map_or(0, Vec::len))
            })
            .collect::<Vec<_>>()
    };
    sidecar.serve();
    sidecar.stop();
    sidecar.serve();
    sidecar.stop();
    let expected = [("catalogue", 0), ("ceiling", 0), ("ceiling-statement", 0), ("catalogue", 2)];
    let expected = expected.map(|(what, parents)| (what.to_owned(), parents));
    assert_eq!(policies(&sidecar), expected, "once, not at each start");
    fs::write(sidecar.config(), &config).unwrap();
    sidecar.serve();
    sidecar.stop();
    assert_eq!(
        policies(&sidecar).get(4),
        Some(&("catalogue".to_owned(), 0)),
        "that there is none any more is recorded"
    );
    let (code, text) = sidecar.verify();
    assert_eq!(code, 0, "{text}");
}
