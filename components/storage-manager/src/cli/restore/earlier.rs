//! Histories that the one that is restored has left.

use cim_core::archive::{ArchiveState, Fork, SeqRange};

use crate::restore::Plan;

/// Warns of what the newest history does not have and an earlier one does: making the stream again before restoring it
/// hides what was in it, and a server that lost its newest messages gives their
/// sequences out again.
pub(super) fn warn_of_earlier(plan: &Plan, state: &ArchiveState) {
    let stream = &plan.stream;
    let stand_ins = plan.stand_ins.iter().filter(|(_, range)| range.first <= plan.last_seq);
    for (number, SeqRange { first, last }) in stand_ins {
        tracing::warn!(
            "stream `{stream}`: timeline {} was being archived anew and had reached sequence {}, so sequences {first} to {last} are taken from timeline {number}, including messages deleted since. If they are damaged there too, `--timeline {}` restores only what was archived anew",
            plan.timeline,
            first - 1,
            plan.timeline
        );
    }
    for (number, _) in state.lineage(plan.timeline) {
        let fork = &state.timelines[&number].fork;
        if fork.reason == Fork::ANEW {
            let seq = fork.parent.as_ref().map_or(0, |parent| parent.last_seq);
            tracing::warn!(
                "stream `{stream}`: timeline {number} is a new archive of the messages after sequence {seq}, because timeline {} is damaged there. Messages that had been deleted or dropped before are only in that damaged timeline, as far as it can be read",
                number - 1
            );
            continue;
        }
        if let Some(parent) = &fork.parent {
            if let Some(left) =
                state.after_fork(parent).filter(|_| !state.has_left(parent.timeline))
            {
                tracing::warn!(
                    "stream `{stream}`: timeline {number} goes on from sequence {} of timeline {}, and leaves out its sequences {} to {}; `--timeline {} --as NAME` brings those back too",
                    parent.last_seq,
                    parent.timeline,
                    left.first,
                    left.last,
                    parent.timeline
                );
            }
            continue;
        }
        let earlier = state.timelines.range(..number).rev();
        let earlier = earlier.filter(|(number, _)| !state.has_left(**number));
        let mut earlier = earlier.filter_map(|(n, t)| Some((n, t.watermark.last.as_ref()?)));
        if let Some((before, last)) = earlier.next() {
            tracing::warn!(
                "stream `{stream}` was deleted and made again: this is timeline {}, up to sequence {}; `--timeline {before}` brings back the one before, up to sequence {} of {}",
                plan.timeline,
                plan.last_seq,
                last.seq,
                last.time.strftime("%F %T UTC")
            );
        }
    }
}
