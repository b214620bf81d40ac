//! The load, by programs that we did not write: wrk, which asks again as soon as it is answered, and oha, which asks at a fixed rate.

use std::{fs, process::Command, time::Duration};

use anyhow::Context as _;
use serde_json::Value;

use super::systems::System;

/// What a load saw. Latencies in ms.
pub struct Load {
    pub rate: f64,
    pub calls: f64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    /// Answers that are not 2xx.
    pub refused: u64,
}

/// Every request with the next of the system's tokens, so that no instruction is the only one; the answer is read from a line that the script prints.
const SCRIPT: &str = r#"
local requests, n = {}, 0
function init()
  for token in io.lines(os.getenv("TOKENS")) do
    requests[#requests + 1] = wrk.format("GET", "/balance", { Authorization = "Bearer " .. token })
  end
end
function request()
  n = n % #requests + 1
  return requests[n]
end
function done(summary, latency)
  local e = summary.errors
  print(string.format("RESULT %f %d %f %f %f %d", summary.requests / summary.duration * 1e6, summary.requests, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3, e.status + e.connect + e.read + e.write + e.timeout))
end
"#;

pub fn wrk(system: &System, time: Duration, connections: u64) -> anyhow::Result<Load> {
    let script = system.dir().join("wrk.lua");
    fs::write(&script, SCRIPT)?;
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{connections}"), &format!("-d{}s", time.as_secs()), "-s"])
        .arg(&script)
        .arg(format!("http://{}", system.address))
        .env("TOKENS", system.tokens())
        .output()
        .context("wrk is not here: benches/peers/setup installs it")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let line =
        said.lines().find_map(|line| line.strip_prefix("RESULT ")).with_context(|| format!("wrk said: {said}"))?;
    let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [rate, calls, p50, p99, p999, refused] = numbers.as_slice() else { anyhow::bail!("wrk said: {line}") };
    Ok(Load { rate: *rate, calls: *calls, p50: *p50, p99: *p99, p999: *p999, refused: *refused as u64 })
}

/// `None` when oha is not installed.
pub fn oha(system: &System, time: Duration, rate: f64) -> anyhow::Result<Option<Load>> {
    let token = fs::read_to_string(system.tokens())?;
    let token = token.lines().next().context("no token")?;
    let Ok(output) = Command::new("oha")
        .args([
            "--no-tui",
            "--output-format",
            "json",
            "--latency-correction",
            "-c",
            "64",
            "-z",
            &format!("{}s", time.as_secs()),
        ])
        .args(["-q", &format!("{rate:.0}"), "-H", &format!("Authorization: Bearer {token}")])
        .arg(format!("http://{}/balance", system.address))
        .output()
    else {
        return Ok(None);
    };
    let said: Value = serde_json::from_slice(&output.stdout).with_context(|| {
        format!("oha said: {} {}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })?;
    let milliseconds = |name: &str| said["latencyPercentiles"][name].as_f64().unwrap_or(f64::NAN) * 1e3;
    let codes = said["statusCodeDistribution"].as_object().cloned().unwrap_or_default();
    let (good, bad): (Vec<_>, Vec<_>) = codes.iter().partition(|(code, _)| code.starts_with('2'));
    let sum = |codes: Vec<(&String, &Value)>| codes.iter().filter_map(|(_, count)| count.as_u64()).sum::<u64>();
    Ok(Some(Load {
        rate: said["summary"]["requestsPerSec"].as_f64().unwrap_or(f64::NAN),
        calls: sum(good) as f64,
        p50: milliseconds("p50"),
        p99: milliseconds("p99"),
        p999: milliseconds("p99.9"),
        refused: sum(bad),
    }))
}
