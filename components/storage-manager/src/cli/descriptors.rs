//! How many files and connections this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Layout;

/// The file descriptors that tiering needs at least: twice what was seen.
const TIERING: u64 = 64;
/// So many streams need no word about it.
const MANY: u64 = 5000;

/// Raises the limit as far as the system lets it: many streams are many uploads at once. Returns what it is then.
pub(super) fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current.unwrap_or(u64::MAX);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            let current = current.unwrap_or(u64::MAX);
            tracing::warn!("no more than {current} files can be open at once: {error}");
            current
        }
    }
}

/// Returns in words for how many streams so many files and connections are enough; `None` where that is for as many
/// as there may be.
pub(super) fn shortage(most: u64, layout: Layout) -> Option<String> {
    let enough = match layout {
        // All streams are read over one connection, and written together.
        Layout::Journal if most >= TIERING => return None,
        Layout::Journal => 0,
        // Each may have an upload of its own under way.
        Layout::Chains => most.saturating_sub(TIERING),
    };
    (enough < MANY).then(|| {
        format!(
            "no more than {most} files and connections can be open at once, which is enough for {enough} streams: raise `LimitNOFILE` of the unit, or `ulimit -Hn`, to {} or more",
            if layout == Layout::Journal { TIERING } else { MANY + TIERING }
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_the_system_allows() {
        let before = getrlimit(Resource::Nofile);
        let fewer = before.maximum.map(|most| most - 1);
        setrlimit(Resource::Nofile, Rlimit { current: fewer, ..before }).unwrap();
        assert_eq!(raise(), before.maximum.unwrap_or(u64::MAX));
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    }

    #[test]
    fn how_many_streams_they_are_enough_for_is_said_where_that_is_few() {
        assert_eq!(shortage(64, Layout::Journal), None);
        assert_eq!(shortage(65_536, Layout::Chains), None);
        let said = shortage(1024, Layout::Chains).unwrap();
        assert!(said.contains("enough for 960 streams: raise"), "{said}");
        assert!(said.ends_with("to 5064 or more"), "{said}");
        let said = shortage(40, Layout::Journal).unwrap();
        assert!(
            said.contains("no more than 40 files") && said.ends_with("to 64 or more"),
            "{said}"
        );
    }
}
