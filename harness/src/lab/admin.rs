//! Fake Wasabi's endpoint for faults.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use super::http;
use crate::error::{Context as _, Error, Result};
use crate::scenario::{Fault, FaultRule};

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The fault endpoint of a service.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The service's name.
    pub name: String,
    /// The address of the endpoint.
    pub addr: SocketAddr,
    /// The access key whose requests the faults hit; without one they hit every request.
    pub client_key: Option<String>,
}

impl Admin {
    /// Replaces the rules of the faults that the service injects from now on, for requests with the
    /// client's key only.
    pub async fn set_faults(&self, rules: &[FaultRule]) -> Result<()> {
        let rules: Vec<_> = rules.iter().map(|rule| self.for_clients(rule)).collect();
        let text = serde_json::to_string(&rules).expect("rules are JSON");
        self.faults("PUT", &text).await.map(drop)
    }

    /// Returns the fault of each rule in force, and how often it struck.
    pub async fn strikes(&self) -> Result<Vec<(Fault, u64)>> {
        #[derive(Deserialize)]
        struct Plan {
            rules: Vec<State>,
        }
        #[derive(Deserialize)]
        struct State {
            rule: Rule,
            struck: u64,
        }
        #[derive(Deserialize)]
        struct Rule {
            fault: Fault,
        }
        let text = self.faults("GET", "").await?;
        let plan: Plan = serde_json::from_str(&text).step(|| self.cannot())?;
        Ok(plan.rules.into_iter().map(|state| (state.rule.fault, state.struck)).collect())
    }

    fn for_clients(&self, rule: &FaultRule) -> serde_json::Value {
        let mut rule = serde_json::to_value(rule).expect("a rule is JSON");
        if let Some(key) = &self.client_key {
            rule["access_key"] = key.clone().into();
        }
        rule
    }

    async fn faults(&self, method: &str, body: &str) -> Result<String> {
        let answer = http::request(self.addr, method, "/faults", body, ANSWER_WITHIN).await;
        let answer = answer.step(|| self.cannot())?;
        if answer.status == 200 {
            return Ok(answer.body);
        }
        Err(Error::step(format!("{}: {}", self.cannot(), answer.body.trim())))
    }

    fn cannot(&self) -> String {
        format!("the faults of `{}` cannot be set", self.name)
    }
}
