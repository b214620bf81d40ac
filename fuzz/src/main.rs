//! `cargo run --release -p countersign-fuzz -- [TARGET|all] [SECONDS] [SEED]`: runs each target for so long. Exit code 1 on a finding, which is
//! written to the current directory.

use std::{
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use countersign_fuzz::TARGETS;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = arguments.first().map_or("all", String::as_str);
    let seconds = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs());
    let seed = arguments.get(2).and_then(|text| text.parse().ok()).unwrap_or(now);
    if !TARGETS.iter().any(|target| wanted == "all" || wanted == target.name) {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("there is no target `{wanted}`; there are: {}", names.join(", "));
        return ExitCode::from(2);
    }
    let mut code = ExitCode::SUCCESS;
    for target in TARGETS.iter().filter(|target| wanted == "all" || wanted == target.name) {
        match target.fuzz(seed, u64::MAX, Duration::from_secs(seconds)) {
            Ok(rounds) => println!("{:<16} {rounds} inputs, seed {seed}: nothing found", target.name),
            Err(finding) => {
                let path = format!("finding-{}-{seed}-{}", target.name, finding.round);
                println!("{:<16} seed {seed}, round {}: see `{path}`", target.name, finding.round);
                if let Err(error) = std::fs::write(&path, &finding.input) {
                    eprintln!("`{path}`: {error}");
                }
                code = ExitCode::from(1);
            }
        }
    }
    code
}
