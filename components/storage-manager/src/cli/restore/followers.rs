//! Which streams of an archive follow which.

use futures_util::{StreamExt as _, stream};

use super::CHAINS;
use crate::archive::{Archive, ArchiveError};
use crate::restore::Followers;

/// Returns who follows which streams, as far as the archive knows. What cannot be read of one says nothing of others.
pub(super) async fn followers(archive: &Archive) -> Result<Followers, ArchiveError> {
    let mut followers = Followers::default();
    let mut chains = Vec::new();
    for name in archive.streams().await? {
        match archive.in_journal(&name) {
            Some(state) => followers.see(name.as_str(), &state.stream.config),
            None => chains.push(name),
        }
    }
    let read = stream::iter(&chains).map(async |name| (name, archive.stream(name).await));
    let mut read = read.buffered(CHAINS);
    while let Some((name, state)) = read.next().await {
        match state {
            Ok(Some(state)) => followers.see(name.as_str(), &state.stream.config),
            Ok(None) => {}
            Err(error) => tracing::debug!("whom stream `{name}` follows is not known: {error}"),
        }
    }
    Ok(followers)
}
