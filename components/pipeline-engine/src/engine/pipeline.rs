//! A pipeline that runs: the stages of a definition and their state.

use std::sync::Arc;

use jaq_json::Val;

use super::aggregate::Windows;
use super::checkpoint::{Checkpoint, SavedStage, SavedState};
use super::event::{Event, Lost, Out, Reason};
use super::flow::{Item, Numbered};
use super::join::Pairs;
use super::late;
use super::readers::{deliver, readers, ways};
use super::work::{State, fits, work};
use crate::definition::{Definition, Step};
use crate::value;

/// The events of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that went in.
    pub input: u64,
    /// Events that no stage after a branch or a window reads: `else` and `late`.
    pub unread: u64,
}

/// A pipeline that runs.
pub struct Pipeline {
    definition: Definition,
    names: Vec<Arc<str>>,
    states: Vec<State>,
    newest: Option<i64>,
    watermark: Option<i64>,
    counts: Counts,
}

impl Pipeline {
    /// Returns a pipeline that has seen nothing.
    pub fn new(definition: Definition) -> Self {
        let states = definition.stages.iter().map(|stage| match stage.step {
            Step::Aggregate { .. } => State::Windows(Windows::default()),
            Step::Join { .. } => State::Pairs(Pairs::default()),
            _ => State::None,
        });
        let names = definition.stages.iter().map(|stage| Arc::from(stage.name.as_str())).collect();
        let states = states.collect();
        Self { definition, names, states, newest: None, watermark: None, counts: Counts::default() }
    }

    /// Returns a pipeline that goes on behind a checkpoint.
    ///
    /// # Errors
    /// When the checkpoint is that of another definition.
    pub fn restore(definition: Definition, checkpoint: Checkpoint) -> Result<Self, String> {
        let mut pipeline = Self::new(definition);
        let Checkpoint { pipeline: name, input, unread, newest, watermark, stages } = checkpoint;
        let other = || {
            format!(
                "the checkpoint of `{name}` is not that of this definition: start anew, and replay"
            )
        };
        if name != pipeline.definition.pipeline {
            return Err(other());
        }
        let mut saved = stages.into_iter();
        for (stage, state) in pipeline.definition.stages.iter().zip(&mut pipeline.states) {
            if *state == State::None {
                continue;
            }
            let saved = saved.next().filter(|saved| saved.stage == stage.name).ok_or_else(other)?;
            *state = match (&state, saved.state) {
                (State::Windows(_), SavedState::Windows(windows)) => {
                    State::Windows(Windows::load(saved.watermark, windows)?)
                }
                (State::Pairs(_), SavedState::Pairs(pairs)) => {
                    State::Pairs(Pairs::load(saved.watermark, pairs)?)
                }
                _ => return Err(other()),
            };
        }
        if saved.next().is_some() {
            return Err(other());
        }
        pipeline.counts = Counts { input, unread };
        (pipeline.newest, pipeline.watermark) = (newest, watermark);
        Ok(pipeline)
    }

    /// Returns all that the pipeline remembers.
    pub fn checkpoint(&self) -> Checkpoint {
        let stages =
            self.definition.stages.iter().zip(&self.states).filter_map(|(stage, state)| {
                let (watermark, state) = match state {
                    State::None => return None,
                    State::Windows(windows) => {
                        let (watermark, windows) = windows.save();
                        (watermark, SavedState::Windows(windows))
                    }
                    State::Pairs(pairs) => {
                        let (watermark, pairs) = pairs.save();
                        (watermark, SavedState::Pairs(pairs))
                    }
                };
                Some(SavedStage { stage: stage.name.clone(), watermark, state })
            });
        Checkpoint {
            pipeline: self.definition.pipeline.clone(),
            input: self.counts.input,
            unread: self.counts.unread,
            newest: self.newest,
            watermark: self.watermark,
            stages: stages.collect(),
        }
    }

    /// Returns the definition.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Returns the numbers of events.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes events in their order; each is the id of its message, and its JSON.
    pub fn push(&mut self, batch: &[(String, Vec<u8>)]) -> (Vec<Out>, Vec<Lost>) {
        let mut lost = Vec::new();
        let mut items = Vec::with_capacity(batch.len());
        for (id, json) in batch {
            self.counts.input += 1;
            let number = self.counts.input;
            match self.read(id, json) {
                Ok(event) => {
                    let time = event.time;
                    items.push(Numbered { number, item: Item::Event(event, 0) });
                    if let Some(watermark) = self.advance(time) {
                        items.push(Numbered { number, item: Item::Watermark(watermark) });
                    }
                }
                Err((value, why)) => {
                    let reason = Reason::Failed(why);
                    lost.push((
                        number,
                        Lost { stage: "input".into(), id: id.as_str().into(), reason, value },
                    ));
                }
            }
        }
        self.run(items, lost)
    }

    /// Closes everything that is open: no event will come.
    pub fn finish(&mut self) -> (Vec<Out>, Vec<Lost>) {
        let number = self.counts.input + 1;
        // Far enough for every window, and far enough from the end for sums.
        let item = Item::Watermark(i64::MAX / 4);
        self.run(vec![Numbered { number, item }], Vec::new())
    }

    /// Reports whether no window is open and no event waits for another one.
    pub fn is_idle(&self) -> bool {
        self.states.iter().all(|state| match state {
            State::None => true,
            State::Windows(windows) => windows.is_empty(),
            State::Pairs(pairs) => pairs.is_empty(),
        })
    }

    fn read(&self, id: &str, json: &[u8]) -> Result<Event, (Val, String)> {
        let input = &self.definition.input;
        let as_text = || value::text(&String::from_utf8_lossy(json));
        let value = value::parse(json).map_err(|error| (as_text(), format!("no JSON: {error}")))?;
        let failed = |why: String| (value.clone(), why);
        let of = |expression: &Option<crate::expression::Expression>| {
            expression.as_ref().map(|expression| expression.one(value.clone())).transpose()
        };
        fits(input.gives, &value).map_err(failed)?;
        let own = of(&input.id).map_err(|why| failed(format!("its id: {why}")))?;
        let id = own.map_or_else(|| id.into(), |own| value::label(&own).into());
        let time =
            of(&input.time).and_then(|time| time.as_ref().map(late::milliseconds).transpose());
        let time = time.map_err(|why| failed(format!("its time: {why}")))?;
        let key = of(&input.key).map_err(|why| failed(format!("its key: {why}")))?;
        let key = key.map_or_else(|| "".into(), |key| value::label(&key).into());
        Ok(Event { id, time, key, value })
    }

    /// Returns the new watermark when an event moves it.
    fn advance(&mut self, time: Option<i64>) -> Option<i64> {
        self.newest = self.newest.max(time);
        let watermark = self.newest? - self.definition.input.lateness;
        if self.watermark.is_some_and(|before| before >= watermark) {
            return None;
        }
        self.watermark = Some(watermark);
        self.watermark
    }

    fn run(&mut self, items: Vec<Numbered>, mut lost: Vec<(u64, Lost)>) -> (Vec<Out>, Vec<Lost>) {
        let stages = self.definition.stages.len();
        let mut boxes: Vec<Vec<Numbered>> = (0..stages).map(|_| Vec::new()).collect();
        let mut outs: Vec<(u64, Out)> = Vec::new();
        let timed = self.states.iter().any(|state| *state != State::None);
        for Numbered { number, item } in items {
            match item {
                Item::Event(event, _) => {
                    let readers = readers(&self.definition, None, 0);
                    self.counts.unread += deliver(number, &event, &readers, &mut boxes, &mut outs);
                }
                Item::Watermark(_) if timed => {
                    for inbox in &mut boxes {
                        inbox.push(Numbered { number, item: item.clone() });
                    }
                }
                Item::Watermark(_) => {}
            }
        }
        for index in 0..stages {
            let mut inbox = std::mem::take(&mut boxes[index]);
            // Watermarks come from the input itself: behind all that the event of their number led to.
            inbox.sort_by_key(|numbered| match numbered.item {
                Item::Event(_, source) => (numbered.number, false, source),
                Item::Watermark(_) => (numbered.number, true, 0),
            });
            let stage = &self.definition.stages[index];
            let made = work(stage, &self.names[index], &mut self.states[index], inbox);
            let ways = ways(stage);
            let readers: Vec<_> =
                (0..ways).map(|way| readers(&self.definition, Some(index), way)).collect();
            for (number, made) in made {
                for (way, event) in made.events {
                    if readers[way].is_empty()
                        && matches!(stage.step, Step::Aggregate { .. } | Step::Join { .. })
                    {
                        let Event { id, value, .. } = event;
                        lost.push((
                            number,
                            Lost {
                                stage: Arc::clone(&self.names[index]),
                                id,
                                reason: Reason::Late,
                                value,
                            },
                        ));
                        continue;
                    }
                    self.counts.unread +=
                        deliver(number, &event, &readers[way], &mut boxes, &mut outs);
                }
                lost.extend(made.lost.into_iter().map(|lost| (number, lost)));
            }
        }
        outs.sort_by_key(|(number, out)| (*number, out.output));
        lost.sort_by_key(|(number, _)| *number);
        (
            outs.into_iter().map(|(_, out)| out).collect(),
            lost.into_iter().map(|(_, lost)| lost).collect(),
        )
    }
}
