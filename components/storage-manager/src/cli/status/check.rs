//! `status --check`: one line for monitoring, and a status.

use std::fmt::Write as _;
use std::time::Duration;

use super::StreamStatus;
use crate::s3::Tier;

/// Streams that the line names.
const NAMED: usize = 3;

/// The age that the oldest message may have that a tier does not hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) nas: Duration,
    pub(super) wasabi: Duration,
}

impl Limits {
    fn of(self, tier: Tier) -> Duration {
        match tier {
            Tier::Nas => self.nas,
            Tier::Wasabi => self.wasabi,
        }
    }
}

/// Returns in one line how far streams are; as an error where one is behind, or there is none.
pub(super) fn check(streams: &[StreamStatus], limits: Limits) -> Result<String, String> {
    if streams.is_empty() {
        return Err("no stream on the server matches `[streams]`: nothing is archived".into());
    }
    let mut behind: Vec<(f64, String)> = Vec::new();
    let mut most: Vec<(Tier, f64)> = Vec::new();
    for stream in streams {
        // Of a tier that cannot be reached nothing is known, and something else says so.
        let tiers = stream.tiers().filter_map(|(name, tier)| {
            Some((name, tier.lag_seconds?, tier.lag_events.is_some_and(|events| events > 0)))
        });
        let tiers: Vec<_> = tiers.collect();
        let late = tiers
            .iter()
            .filter(|(name, lag, lacks)| *lacks && *lag > limits.of(*name).as_secs_f64())
            .max_by(|(_, a, _), (_, b, _)| a.total_cmp(b));
        if let Some((name, lag, _)) = late {
            let mut line = format!("`{}` {} on {name}", stream.stream, ago(*lag));
            if stream.refused.is_some() {
                line.push_str(" (refused)");
            }
            behind.push((*lag, line));
        }
        for (name, of_stream, _) in tiers {
            match most.iter_mut().find(|(tier, _)| *tier == name) {
                Some((_, lag)) => *lag = lag.max(of_stream),
                None => most.push((name, of_stream)),
            }
        }
    }
    let count = streams.len();
    if behind.is_empty() {
        let most: Vec<_> =
            most.iter().map(|(tier, lag)| format!("{} on {tier}", ago(*lag))).collect();
        return Ok(format!("{} archived, at most {} behind", plural(count), most.join(", ")));
    }
    behind.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let named: Vec<_> = behind.iter().take(NAMED).map(|(_, line)| line.as_str()).collect();
    let mut line = format!("{} of {} behind: {}", behind.len(), plural(count), named.join(", "));
    if behind.len() > NAMED {
        write!(line, " and {} more", behind.len() - NAMED).expect("a string takes it");
    }
    let limit = |tier: Tier| format!("{} on {tier}", ago(limits.of(tier).as_secs_f64()));
    let limits: Vec<_> = most.iter().map(|(tier, _)| limit(*tier)).collect();
    write!(line, "; the limit is {}", limits.join(", ")).expect("a string takes it");
    Err(line)
}

fn plural(streams: usize) -> String {
    if streams == 1 { "1 stream".into() } else { format!("{streams} streams") }
}

/// Returns a time in the unit that fits.
fn ago(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::reach::TierStatus;

    const LIMITS: Limits = Limits { nas: Duration::from_secs(30), wasabi: Duration::from_mins(10) };

    fn stream(name: &str, nas: f64, wasabi: Option<f64>) -> StreamStatus {
        let behind = |lag: f64| TierStatus::behind(lag, u64::from(lag > 0.0));
        StreamStatus {
            stream: name.parse().unwrap(),
            last_seq: 9,
            nas: behind(nas),
            wasabi: wasabi.map(behind),
            refused: None,
        }
    }

    #[test]
    fn one_line_says_how_far_all_are() {
        let all = [stream("A", 0.0, Some(130.0)), stream("B", 0.34, Some(0.0))];
        let said = check(&all, LIMITS).unwrap();
        assert_eq!(said, "2 streams archived, at most 0.3 s on NAS, 2 min on Wasabi behind");
        let alone = check(&[stream("A", 29.9, None)], LIMITS).unwrap();
        assert_eq!(alone, "1 stream archived, at most 29.9 s on NAS behind");
    }

    #[test]
    fn those_that_are_behind_are_named_worst_first() {
        let mut all = vec![stream("A", 31.0, Some(0.0)), stream("B", 1.0, Some(601.0))];
        all.push(StreamStatus { refused: Some("why".into()), ..stream("C", 90_000.0, Some(1.0)) });
        all.push(stream("D", 30.0, Some(600.0)));
        let said = check(&all, LIMITS).unwrap_err();
        assert_eq!(
            said,
            "3 of 4 streams behind: `C` 25.0 h on NAS (refused), `B` 10 min on Wasabi, `A` 31.0 s on NAS; the limit is 30.0 s on NAS, 10 min on Wasabi"
        );
        all.extend([stream("E", 40.0, None), stream("F", 40.0, None)]);
        assert!(check(&all, LIMITS).unwrap_err().contains("5 of 6 streams behind: `C`"));
        assert!(check(&all, LIMITS).unwrap_err().contains(" and 2 more; the limit is"));
    }

    #[test]
    fn no_stream_is_no_success() {
        assert!(check(&[], LIMITS).unwrap_err().contains("nothing is archived"));
    }
}
