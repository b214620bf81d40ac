//! What a running sidecar does not read again.

use super::Config;

/// The keys that count from a start to the next, as they were then.
pub struct Fixed(Vec<(&'static str, String)>);

impl Config {
    /// What counts until the next start, whatever the file says meanwhile.
    pub fn fixed(&self) -> Fixed {
        fn of(name: &'static str, value: &dyn std::fmt::Debug) -> (&'static str, String) {
            (name, format!("{value:?}"))
        }
        Fixed(vec![
            of("origin", &self.origin),
            of("[ledger]", &self.ledger),
            of("[gateway] listen", &self.gateway.listen),
            of("[api] listen", &self.api.listen),
            of("[ext_authz]", &self.ext_authz),
            of("[approvals]", &self.approvals),
            of("[proposer]", &self.proposer),
            of("[[agent]]", &self.agent),
            of("[proof]", &self.proof),
            of("[limits]", &self.limits),
            of("[signing]", &self.signing),
            of("[metrics]", &self.metrics),
            of("[telemetry]", &self.telemetry),
            of("[log] format", &self.log.format),
            of("drain_seconds", &self.drain_seconds),
            of("heartbeat_seconds", &self.heartbeat_seconds),
        ])
    }
}

impl Fixed {
    /// Of these, what the file says otherwise now.
    pub fn differs_from(&self, config: &Config) -> Vec<&'static str> {
        let now = config.fixed().0;
        let differs = self.0.iter().zip(now).filter(|(then, now)| **then != *now);
        differs.map(|(then, _)| then.0).collect()
    }
}
