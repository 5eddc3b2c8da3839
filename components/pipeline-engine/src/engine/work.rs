//! The work of a stage on the items of a batch, by one thread or several.

use std::sync::Arc;

use jaq_json::Val;

use super::aggregate::Windows;
use super::event::{Event, Lost, Reason};
use super::flow::{Item, Made, Numbered};
use super::join::Pairs;
use super::simple;
use crate::definition::{Shape, Stage, Step};

/// The state of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    None,
    Windows(Windows),
    Pairs(Pairs),
}

pub(super) fn fits(shape: Shape, value: &Val) -> Result<(), String> {
    let found = Shape::of(value);
    if shape.takes(found) {
        Ok(())
    } else {
        Err(format!("is {} instead of {}", found.name(), shape.name()))
    }
}

/// Returns what a stage makes of its items, in their order.
pub(super) fn work(
    stage: &Stage,
    name: &Arc<str>,
    state: &mut State,
    inbox: Vec<Numbered>,
) -> Vec<(u64, Made)> {
    if *state == State::None && stage.parallel > 1 && inbox.len() > 1 {
        return in_parallel(stage, name, inbox);
    }
    let mut all = Vec::with_capacity(inbox.len());
    for Numbered { number, item } in inbox {
        let mut made = Made::default();
        match item {
            Item::Watermark(watermark) => match state {
                State::None => {}
                State::Windows(windows) => windows.pass(name, &stage.step, watermark, &mut made),
                State::Pairs(pairs) => pairs.pass(&stage.step, watermark),
            },
            Item::Event(event, source) => {
                let (id, value) = (Arc::clone(&event.id), event.value.clone());
                let done = fits(stage.takes, &value).and_then(|()| {
                    // An event may come by several ways, and is another one by each.
                    let mut event = event;
                    if stage.from.len() > 1 && !matches!(stage.step, Step::Join { .. }) {
                        event.id = format!("{}@{source}", event.id).into();
                    }
                    match state {
                        State::None => {
                            simple::one(&stage.step, event).map(|events| made.events = events)
                        }
                        State::Windows(windows) => windows.take(&stage.step, event, &mut made),
                        State::Pairs(pairs) => pairs.take(&stage.step, event, source, &mut made),
                    }
                });
                if let Err(why) = done {
                    made.lost.push(Lost {
                        stage: Arc::clone(name),
                        id,
                        reason: Reason::Failed(why),
                        value,
                    });
                }
            }
        }
        checked(stage, name, &mut made);
        all.push((number, made));
    }
    all
}

/// Turns events that are not of the stage's type, or are no JSON, into dead letters.
fn checked(stage: &Stage, name: &Arc<str>, made: &mut Made) {
    if stage.gives == Shape::Any {
        return;
    }
    for (way, event) in std::mem::take(&mut made.events) {
        match fits(stage.gives, &event.value) {
            Err(why) if way == 0 || matches!(stage.step, Step::Branch(_)) => {
                let Event { id, value, .. } = event;
                let reason = Reason::Failed(format!("gives what {why}"));
                made.lost.push(Lost { stage: Arc::clone(name), id, reason, value });
            }
            _ => made.events.push((way, event)),
        }
    }
}

/// Shares the items among threads and puts what they made back into order.
fn in_parallel(stage: &Stage, name: &Arc<str>, inbox: Vec<Numbered>) -> Vec<(u64, Made)> {
    let share = inbox.len().div_ceil(stage.parallel);
    let mut inbox = inbox.into_iter();
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        loop {
            let items: Vec<_> = inbox.by_ref().take(share).collect();
            if items.is_empty() {
                break;
            }
            threads.push(scope.spawn(|| work_all(stage, name, items)));
        }
        let ended = threads.into_iter();
        ended.flat_map(|thread| thread.join().expect("a stage does not panic")).collect()
    })
}

fn work_all(stage: &Stage, name: &Arc<str>, items: Vec<Numbered>) -> Vec<(u64, Made)> {
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        all.extend(work(stage, name, &mut State::None, vec![item]));
    }
    all
}
