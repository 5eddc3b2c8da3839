//! Where a user hears what it is answered: below one prefix alone, as a rule, and the server does not say which.

use crate::config::Config;
use crate::wire::{self, WireError};

/// Prefixes that a user may have been given: the one of all clients, the one of the modules, one with its name.
fn customary(config: &Config) -> Vec<String> {
    let own = config.nats.user.as_ref().map(|user| format!("_INBOX_{user}"));
    let all = ["_INBOX".to_owned(), "_INBOX_storage".into()].into_iter().chain(own);
    // A name may hold what no subject does.
    all.filter(|prefix| prefix.chars().all(|c| c.is_ascii_graphic() && !"*>.".contains(c)))
        .collect()
}

/// Returns in words what to set the prefix to, for a user that does not hear what comes below the one that is set.
pub(super) async fn instead(config: &Config) -> Result<String, WireError> {
    let prefixes = customary(config);
    let lines = prefixes.iter().enumerate();
    let lines =
        lines.map(|(sid, prefix)| format!("SUB {prefix}.CIM_CHECK {sid}\r\nUNSUB {sid}\r\n"));
    let refusals = wire::refusals(&config.nats, &lines.collect::<String>()).await?;
    let hears = |prefix: &&String| {
        let denied = format!("\"{prefix}.CIM_CHECK\"");
        !refusals.iter().any(|said| said.contains(&denied))
    };
    Ok(match prefixes.iter().find(hears) {
        Some(prefix) => format!("set `nats.inbox_prefix` to `{prefix}`, which it may hear"),
        None => "set `nats.inbox_prefix` to what it may hear".into(),
    })
}
