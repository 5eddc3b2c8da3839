//! The readers of each way out of a stage, and the delivery of events to them.

use super::event::{Event, Out};
use super::flow::{Item, Numbered};
use crate::definition::{Definition, Port, Stage, Step};

/// The sources of stages and outputs turned around: a reader of a way.
pub(super) struct Reader {
    /// The index of the stage, or of the output behind them.
    pub(super) to: Result<usize, usize>,
    /// The index among the sources of the reader.
    pub(super) source: usize,
    /// The number of its sources.
    pub(super) sources: usize,
}

pub(super) fn ways(stage: &Stage) -> usize {
    match &stage.step {
        Step::Branch(cases) => cases.len() + 1,
        Step::Aggregate { .. } | Step::Join { .. } => 2,
        _ => 1,
    }
}

/// Returns the readers of a way.
pub(super) fn readers(definition: &Definition, stage: Option<usize>, way: usize) -> Vec<Reader> {
    let port = Port { stage, way };
    let mut readers = Vec::new();
    let stages = definition.stages.iter().enumerate().map(|(to, stage)| (Ok(to), &stage.from));
    let outputs = definition.outputs.iter().enumerate().map(|(to, output)| (Err(to), &output.from));
    for (to, from) in stages.chain(outputs) {
        for (source, _) in from.iter().enumerate().filter(|(_, known)| **known == port) {
            readers.push(Reader { to, source, sources: from.len() });
        }
    }
    readers
}

/// Hands an event to all that read it; 1 if none does.
pub(super) fn deliver(
    number: u64,
    event: &Event,
    readers: &[Reader],
    boxes: &mut [Vec<Numbered>],
    outs: &mut Vec<(u64, Out)>,
) -> u64 {
    for reader in readers {
        let mut event = event.clone();
        match reader.to {
            Ok(to) => boxes[to].push(Numbered { number, item: Item::Event(event, reader.source) }),
            Err(output) => {
                // One event may come by several ways: each is an output of its own.
                if reader.sources > 1 {
                    event.id = format!("{}@{}", event.id, reader.source).into();
                }
                outs.push((number, Out { output, event }));
            }
        }
    }
    u64::from(readers.is_empty())
}
