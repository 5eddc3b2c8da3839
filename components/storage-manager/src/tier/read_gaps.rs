//! Gaps in what was read of a stream that several servers have.
//!
//! The reader's consumer is served by one server of the cluster, from what that one has on its disk.
//! A server whose files were damaged leaves out what it lost, without a word: to the reader that looks
//! like deleted messages, and an archive without them would have a gap without a trace. So a gap
//! is archived as one only when two servers agree on it, the one that was read from and the stream's
//! leader. What the leader has is read from it, message by message.
//!
//! What the leader has is told by its list of deletes, where that is short. A list of millions would cut the
//! connection ([`super::deletes`]), so then the leader is asked for the first message of each gap.
//!
//! A server before 2.10 leaves messages out too, where it is alone and a part of the stream is purged by subject
//! while it is read (an object that is put again): what it leaves out and has is read the same way.
//!
//! Work queues have no reader: they are read from the leader alone, and no other server can be asked.

use std::sync::Arc;

use cim_core::archive::{SeqRange, SeqRanges};
use cim_core::names::StreamName;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::context::Context;
use super::deletes;
use super::error::ReaderError;
use super::gaps::preview;
use crate::wire::WireError;

/// Gaps that the leader is asked about at once.
const AT_ONCE: usize = 16;

/// The gaps that one reader met.
pub struct ReadGaps {
    context: Arc<Context>,
    stream: StreamName,
    /// The server that is read from, where others have the stream too.
    server: Option<String>,
    next: u64,
    met: SeqRanges,
    /// The sequences that the leader said last are gone.
    gone: SeqRanges,
}

impl ReadGaps {
    /// Begins at `start_seq`, for a reader on this server.
    pub fn new(
        context: Arc<Context>,
        stream: StreamName,
        server: Option<String>,
        start_seq: u64,
    ) -> Self {
        let (met, gone) = (SeqRanges::default(), SeqRanges::default());
        Self { context, stream, server, next: start_seq, met, gone }
    }

    /// Takes note of a message that was read.
    pub fn observe(&mut self, seq: u64) {
        self.met.insert(SeqRange { first: self.next, last: seq.saturating_sub(1) });
        self.next = seq + 1;
    }

    /// Returns whether there was no gap since the last call.
    pub fn are_confirmed(&self) -> bool {
        self.met.difference(&self.gone).is_empty()
    }

    /// Confirms the gaps since the last call. Returns the sequences in them that the leader has: those are no gaps.
    pub async fn confirm(&mut self) -> Result<SeqRanges, ReaderError> {
        let met = self.met.difference(&self.gone);
        if met.is_empty() {
            self.met = SeqRanges::default();
            return Ok(met);
        }
        let mut info = self.context.jetstream.stream_info(self.stream.as_str(), false).await?;
        let listed = deletes::is_listed(&info);
        if listed {
            info = self.context.jetstream.stream_info(self.stream.as_str(), true).await?;
        }
        if let (Some(server), Some(leader)) = (&self.server, &info.cluster.leader)
            && leader.name == *server
            && !info.cluster.current.is_empty()
        {
            let why = format!("`{server}` leads it now: its gaps want a second witness");
            return Err(WireError::Restart { stream: self.stream.to_string(), why }.into());
        }
        self.gone = info.deleted;
        self.gone.insert(SeqRange { first: 1, last: info.state.first_seq.saturating_sub(1) });
        let mut gaps = met.difference(&self.gone);
        if !listed {
            gaps = self.on_leader(&gaps).await?;
        }
        self.met = SeqRanges::default();
        let Some(server) = &self.server else { return Ok(gaps) };
        if !gaps.is_empty() {
            tracing::error!(
                stream = %self.stream,
                "server `{0}` does not have what the stream's leader has, sequences {1}: they are archived from the \
                 leader; the files of `{0}` are damaged, have it copy the stream again with `nats stream cluster \
                 peer-remove {2} {0}`",
                server,
                preview(&gaps),
                self.stream
            );
        }
        Ok(gaps)
    }

    /// Returns what the leader has of some gaps, which lie between messages that were just read.
    async fn on_leader(&self, gaps: &SeqRanges) -> Result<SeqRanges, ReaderError> {
        let gaps: Vec<SeqRange> = gaps.iter().collect();
        let asked = stream::iter(gaps).map(|gap| self.in_gap(gap)).buffered(AT_ONCE);
        let found: Vec<SeqRanges> = asked.try_collect().await?;
        Ok(found.iter().flat_map(SeqRanges::iter).collect())
    }

    async fn in_gap(&self, SeqRange { first, last }: SeqRange) -> Result<SeqRanges, ReaderError> {
        let (mut found, mut next) = (SeqRanges::default(), first);
        while next <= last {
            let message = self.context.jetstream.next_message(self.stream.as_str(), next).await?;
            let Some(message) = message.filter(|message| message.seq <= last) else { break };
            found.insert(SeqRange { first: message.seq, last: message.seq });
            next = message.seq + 1;
        }
        Ok(found)
    }
}
