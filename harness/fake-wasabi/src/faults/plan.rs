//! The plan in force.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use globset::{Glob, GlobMatcher};

use super::{Fault, PlanError, Rule, RuleState, check, covered};
use crate::target::Target;

const TIMEOUT_SECONDS: f64 = 60.0;

/// The plan in force. Replacing it resets every count.
#[derive(Debug)]
pub(crate) struct Plan {
    seed: u64,
    rules: Mutex<Vec<ActiveRule>>,
}

#[derive(Debug)]
struct ActiveRule {
    rule: Rule,
    operations: Vec<&'static str>,
    bucket: Option<GlobMatcher>,
    keys: Option<GlobMatcher>,
    until: Option<Instant>,
    matched: u64,
    struck: u64,
}

/// The fate of one request.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct InjectedFault {
    /// The time to hold the request before anything else.
    pub(crate) delay: Duration,
    /// True if a delay rule matched, even with no time.
    pub(crate) delayed: bool,
    pub(crate) fault: Option<Fault>,
    /// The time for which a `timeout` holds the connection.
    pub(crate) hold: Duration,
    pub(crate) after_bytes: Option<u64>,
    pub(crate) retry_after_seconds: Option<u64>,
    /// The random number that places a flipped bit.
    pub(crate) random: u64,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, rules: Mutex::new(Vec::new()) }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Puts a new plan into force, or refuses it as a whole.
    pub(crate) fn set(&self, rules: Vec<Rule>) -> Result<(), PlanError> {
        let now = Instant::now();
        let active: Vec<_> = rules
            .into_iter()
            .enumerate()
            .map(|(index, rule)| {
                let fault = rule.fault;
                ActiveRule::new(rule, now).map_err(|problem| PlanError { index, fault, problem })
            })
            .collect::<Result<_, _>>()?;
        *self.rules() = active;
        Ok(())
    }

    pub(crate) fn state(&self) -> Vec<RuleState> {
        let state = |active: &ActiveRule| RuleState {
            rule: active.rule.clone(),
            matched: active.matched,
            struck: active.struck,
        };
        self.rules().iter().map(state).collect()
    }

    /// Decides what happens to a request.
    pub(crate) fn decide(&self, target: &Target, access_key: &str) -> InjectedFault {
        let now = Instant::now();
        let mut injected = InjectedFault::default();
        for (index, active) in self.rules().iter_mut().enumerate() {
            if !active.matches(target, access_key, now) {
                continue;
            }
            let random = mix(self.seed, index as u64, active.matched);
            active.matched += 1;
            if !active.strikes(random) {
                continue;
            }
            active.struck += 1;
            let seconds = active.rule.seconds;
            if active.rule.fault == Fault::Delay {
                injected.delayed = true;
                injected.delay += Duration::from_secs_f64(seconds.unwrap_or(0.0));
                continue;
            }
            injected.fault = Some(active.rule.fault);
            injected.hold = Duration::from_secs_f64(seconds.unwrap_or(TIMEOUT_SECONDS));
            injected.after_bytes = active.rule.after_bytes;
            injected.retry_after_seconds = active.rule.retry_after_seconds;
            injected.random = random;
            break;
        }
        injected
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, Vec<ActiveRule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ActiveRule {
    fn new(rule: Rule, now: Instant) -> Result<Self, String> {
        check(&rule)?;
        let optional =
            |field, text: &Option<String>| text.as_ref().map(|text| glob(field, text)).transpose();
        Ok(Self {
            operations: covered(&rule)?,
            bucket: optional("bucket", &rule.bucket)?,
            keys: optional("keys", &rule.keys)?,
            until: rule.for_seconds.map(|seconds| now + Duration::from_secs_f64(seconds)),
            matched: 0,
            struck: 0,
            rule,
        })
    }

    fn matches(&self, target: &Target, access_key: &str, now: Instant) -> bool {
        let fits = |glob: &Option<GlobMatcher>, text: &str| {
            glob.as_ref().is_none_or(|glob| !text.is_empty() && glob.is_match(text))
        };
        self.until.is_none_or(|until| now < until)
            && self.operations.contains(&target.operation.as_str())
            && fits(&self.bucket, &target.bucket)
            && fits(&self.keys, &target.key)
            && self.rule.access_key.as_ref().is_none_or(|only| only == access_key)
    }

    /// Reports whether the rule strikes the request that was just counted.
    fn strikes(&self, random: u64) -> bool {
        let Some(past) = self.matched.checked_sub(self.rule.skip.unwrap_or(0)).filter(|n| *n > 0)
        else {
            return false;
        };
        if self.rule.count.is_some_and(|count| self.struck >= count) {
            return false;
        }
        if let Some(every) = self.rule.every {
            return past % every == 0;
        }
        let probability = self.rule.probability.unwrap_or(1.0);
        // 53 bits make a number from 0 up to but without 1.
        ((random >> 11) as f64 / (1_u64 << 53) as f64) < probability
    }
}

/// Parses a glob whose `*` crosses slashes, as S3 keys have no directories.
pub(super) fn glob(field: &str, text: &str) -> Result<GlobMatcher, String> {
    match Glob::new(text) {
        Ok(glob) => Ok(glob.compile_matcher()),
        Err(error) => Err(format!("`{field}`: {}", error.kind())),
    }
}

/// Mixes three numbers into a random one, by SplitMix64.
fn mix(seed: u64, rule: u64, request: u64) -> u64 {
    [seed, rule, request].into_iter().fold(0x9e37_79b9_7f4a_7c15, |state: u64, input| {
        let mut z = (state ^ input).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Plan {
        let plan = Plan::new(7);
        plan.set(serde_json::from_str(json).unwrap()).unwrap();
        plan
    }

    fn decide(plan: &Plan, operation: &str, bucket: &str, key: &str) -> InjectedFault {
        decide_for(plan, operation, bucket, key, "anybody")
    }

    fn decide_for(
        plan: &Plan,
        operation: &str,
        bucket: &str,
        key: &str,
        signer: &str,
    ) -> InjectedFault {
        let (operation, bucket, key) = (operation.into(), bucket.into(), key.into());
        plan.decide(&Target { operation, bucket, key }, signer)
    }

    fn struck(plan: &Plan, requests: usize) -> Vec<bool> {
        (0..requests).map(|_| decide(plan, "PutObject", "b", "k/1").fault.is_some()).collect()
    }

    fn refusal(json: &str) -> String {
        match serde_json::from_str(json) {
            Ok(rules) => Plan::new(0).set(rules).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn skip_every_and_count_choose_requests() {
        let plan = plan(r#"[{"fault":"slow_down","skip":2,"every":2,"count":2}]"#);
        let want = [false, false, false, true, false, true, false, false];
        assert_eq!(struck(&plan, 8), want);
        let state = &plan.state()[0];
        assert_eq!((state.matched, state.struck), (8, 2));
    }

    #[test]
    fn the_same_seed_strikes_the_same_requests() {
        let json = r#"[{"fault":"internal_error","probability":0.3}]"#;
        let first = struck(&plan(json), 1000);
        assert_eq!(first, struck(&plan(json), 1000));
        let strikes = first.iter().filter(|struck| **struck).count();
        assert!((200..400).contains(&strikes), "{strikes} of 1000");
        let other = Plan::new(8);
        other.set(serde_json::from_str(json).unwrap()).unwrap();
        assert_ne!(first, struck(&other, 1000));
    }

    #[test]
    fn rules_match_by_operation_bucket_and_key() {
        let plan = plan(
            r#"[{"fault":"slow_down","operations":["Put*","List*"],"bucket":"b*","keys":"k/*"}]"#,
        );
        assert!(decide(&plan, "PutObject", "b1", "k/x/y").fault.is_some());
        assert!(decide(&plan, "PutObject", "c", "k/x").fault.is_none());
        assert!(decide(&plan, "PutObject", "b1", "l").fault.is_none());
        assert!(decide(&plan, "GetObject", "b1", "k/x").fault.is_none());
        // A request without a key cannot match a glob over keys.
        assert!(decide(&plan, "ListObjectsV2", "b1", "").fault.is_none());
    }

    #[test]
    fn a_rule_for_one_key_leaves_the_others_alone() {
        let plan = plan(r#"[{"fault":"slow_down","access_key":"one"}]"#);
        assert!(decide_for(&plan, "PutObject", "b", "k", "one").fault.is_some());
        assert!(decide_for(&plan, "PutObject", "b", "k", "two").fault.is_none());
        assert_eq!(plan.state()[0].matched, 1);
    }

    #[test]
    fn a_delay_adds_to_what_comes_after_it() {
        let plan = plan(
            r#"[{"fault":"delay","seconds":0.5},{"fault":"read_only"},{"fault":"slow_down"}]"#,
        );
        let write = decide(&plan, "DeleteObject", "b", "k");
        assert_eq!((write.delay, write.fault), (Duration::from_millis(500), Some(Fault::ReadOnly)));
        let read = decide(&plan, "HeadObject", "b", "k");
        assert_eq!((read.delay, read.fault), (Duration::from_millis(500), Some(Fault::SlowDown)));
    }

    #[test]
    fn a_rule_lapses() {
        let plan = plan(r#"[{"fault":"full","for_seconds":0}]"#);
        assert_eq!(struck(&plan, 1), [false]);
    }

    #[test]
    fn a_plan_that_makes_no_sense_is_refused_as_a_whole() {
        let plan = plan(r#"[{"fault":"full"}]"#);
        let bad = r#"[{"fault":"slow_down"},{"fault":"torn_upload","operations":["GetObject"]}]"#;
        let error = plan.set(serde_json::from_str(bad).unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "rule 1 (`torn_upload`): `GetObject` matches no operation that this fault applies to"
        );
        assert_eq!(plan.state().len(), 1);
        for (json, says) in [
            (r#"[{"fault":"slow_down","seconds":1}]"#, "`seconds` is only for delay and timeout"),
            (r#"[{"fault":"delay"}]"#, "`seconds` is missing"),
            (r#"[{"fault":"delay","seconds":-1}]"#, "from 0 to 86400"),
            (r#"[{"fault":"full","probability":2}]"#, "from 0 to 1"),
            (r#"[{"fault":"full","every":0}]"#, "at least 1"),
            (r#"[{"fault":"full","colour":1}]"#, "unknown field `colour`"),
            (r#"[{"fault":"meteor"}]"#, "unknown variant `meteor`"),
            (r#"[{"fault":"full","keys":"[a"}]"#, "`keys`: "),
        ] {
            let refusal = refusal(json);
            assert!(refusal.contains(says), "{json}: {refusal}");
        }
    }
}
