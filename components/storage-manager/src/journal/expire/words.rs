//! What has left an archive, for people.

use cim_core::archive::journal::Expired;

/// Says what has left, a line for each run.
pub fn in_words<'a>(runs: impl IntoIterator<Item = &'a Expired>) -> Vec<String> {
    let line = |run: &Expired| {
        let Expired { first_seq, last_seq, messages, rule, .. } = run;
        let at = run.at.strftime("%F");
        let messages =
            if *messages == 1 { "1 message".into() } else { format!("{messages} messages") };
        format!(
            "{messages} up to sequence {last_seq} (from {first_seq}, timeline {}) left the archive by `{rule}`, the last on {at}",
            run.timeline
        )
    };
    runs.into_iter().map(line).collect()
}
