//! Windows by event time: the events of a key become one when the watermark passes the window's end.

use std::collections::BTreeMap;
use std::sync::Arc;

use jaq_json::Val;
use serde::{Deserialize, Serialize};

use super::event::{Event, Lost, Reason};
use super::flow::Made;
use super::kept::{self, Kept, Values};
use super::late;
use super::simple::each;
use crate::definition::Step;
use crate::expression::Expression;
use crate::value;

/// An open window in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedWindow {
    end: i64,
    key: String,
    values: Vec<Kept>,
}

/// The open windows of a stage, by end and key; the values of each by time and id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Windows {
    open: BTreeMap<(i64, Arc<str>), Values>,
    watermark: Option<i64>,
}

impl Windows {
    /// Takes an event into its windows. One whose windows are all closed goes the way of late events.
    pub(super) fn take(
        &mut self,
        step: &Step,
        event: Event,
        made: &mut Made,
    ) -> Result<(), String> {
        let Step::Aggregate { key, value, window, slide, .. } = step else {
            unreachable!("an aggregate")
        };
        let time = event.time.ok_or("the event has no time")?;
        let starts = late::windows(time, *window, *slide)
            .filter(|start| self.watermark.is_none_or(|watermark| start + window > watermark));
        let starts: Vec<i64> = starts.collect();
        if starts.is_empty() {
            made.events.push((1, event));
            return Ok(());
        }
        let key: Arc<str> = match key {
            Some(key) => value::label(&key.one(event.value.clone())?).into(),
            None => Arc::clone(&event.key),
        };
        let kept = match value {
            Some(value) => value.one(event.value.clone())?,
            None => event.value.clone(),
        };
        for start in starts {
            let values = self.open.entry((start + window, Arc::clone(&key))).or_default();
            values.insert((time, Arc::clone(&event.id)), kept.clone());
        }
        Ok(())
    }

    /// Closes the windows that end at the watermark or before, the oldest first, then by key.
    pub(super) fn pass(&mut self, stage: &Arc<str>, step: &Step, watermark: i64, made: &mut Made) {
        let Step::Aggregate { window, expression, .. } = step else { unreachable!("an aggregate") };
        self.watermark = self.watermark.max(Some(watermark));
        while let Some(entry) = self.open.first_entry() {
            if entry.key().0 > watermark {
                break;
            }
            let ((end, key), values) = entry.remove_entry();
            close(
                stage,
                expression,
                (end - window, end),
                key,
                values.into_values().collect(),
                made,
            );
        }
    }

    /// Returns the watermark and the open windows.
    pub(super) fn save(&self) -> (Option<i64>, Vec<SavedWindow>) {
        let windows = self.open.iter().map(|((end, key), values)| SavedWindow {
            end: *end,
            key: key.to_string(),
            values: kept::save(values),
        });
        (self.watermark, windows.collect())
    }

    /// Returns the windows of a checkpoint.
    pub(super) fn load(watermark: Option<i64>, saved: Vec<SavedWindow>) -> Result<Self, String> {
        let window =
            |saved: SavedWindow| Ok(((saved.end, saved.key.into()), kept::load(saved.values)?));
        let open = saved.into_iter().map(window).collect::<Result<_, String>>()?;
        Ok(Self { open, watermark })
    }

    /// Reports whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

fn close(
    stage: &Arc<str>,
    expression: &Expression,
    (start, end): (i64, i64),
    key: Arc<str>,
    values: Vec<Val>,
    made: &mut Made,
) {
    let input = value::object([
        ("key", value::text(&key)),
        ("start", value::text(&late::rfc3339(start))),
        ("end", value::text(&late::rfc3339(end))),
        ("values", values.into_iter().collect()),
    ]);
    let id: Arc<str> = format!("{stage}/{}/{key}", late::rfc3339(start)).into();
    match expression.run(input.clone(), vec![]) {
        // The last moment of the window, so that a window of the same length behind this one takes it in.
        Ok(values) => made
            .events
            .extend(each(&Event { id, time: Some(end - 1), key, value: Val::Null }, values)),
        Err(why) => made.lost.push(Lost {
            stage: Arc::clone(stage),
            id,
            reason: Reason::Failed(why),
            value: input,
        }),
    }
}
