//! Pairs of events of the same key that are near in time.

use std::collections::BTreeMap;
use std::sync::Arc;

use jaq_json::Val;
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::flow::Made;
use super::kept::{self, Kept, Values};
use super::simple::each;
use crate::definition::Step;
use crate::value;

/// The events of one side that may still meet another one: by key, then by time and id.
type Side = BTreeMap<Arc<str>, Values>;

/// The events of a key in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedKey {
    key: String,
    values: Vec<Kept>,
}

/// The events of both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pairs {
    sides: [Side; 2],
    watermark: Option<i64>,
}

impl Pairs {
    /// Takes an event of a side and makes its pairs. One whose partners may be forgotten goes the way of late events.
    pub(super) fn take(
        &mut self,
        step: &Step,
        event: Event,
        side: usize,
        made: &mut Made,
    ) -> Result<(), String> {
        let Step::Join { left, right, within, expression } = step else { unreachable!("a join") };
        let time = event.time.ok_or("the event has no time")?;
        if self.watermark.is_some_and(|watermark| time + within < watermark) {
            made.events.push((1, event));
            return Ok(());
        }
        let key = [left, right][side].one(event.value.clone())?;
        let key: Arc<str> = value::label(&key).into();
        let near = (time - within, Arc::from(""))..;
        let others = self.sides[1 - side]
            .get(&key)
            .into_iter()
            .flat_map(|others| others.range(near.clone()));
        for ((then, id), other) in others.take_while(|((then, _), _)| *then <= time + within) {
            let (mine, theirs) = (event.value.clone(), other.clone());
            let (left, right) = if side == 0 { (mine, theirs) } else { (theirs, mine) };
            let (first, second) = if side == 0 { (&event.id, id) } else { (id, &event.id) };
            let values =
                expression.run(value::object([("left", left), ("right", right)]), vec![])?;
            let id = format!("{first}+{second}").into();
            let pair =
                Event { id, time: Some(time.max(*then)), key: Arc::clone(&key), value: Val::Null };
            made.events.extend(each(&pair, values));
        }
        let mine = self.sides[side].entry(key).or_default();
        mine.insert((time, event.id), event.value);
        Ok(())
    }

    /// Forgets the events that can meet no other any more.
    pub(super) fn pass(&mut self, step: &Step, watermark: i64) {
        let Step::Join { within, .. } = step else { unreachable!("a join") };
        self.watermark = self.watermark.max(Some(watermark));
        for side in &mut self.sides {
            side.retain(|_, events| {
                *events = events.split_off(&(watermark - within, Arc::from("")));
                !events.is_empty()
            });
        }
    }

    /// Returns the watermark and the events of both sides.
    pub(super) fn save(&self) -> (Option<i64>, [Vec<SavedKey>; 2]) {
        let side = |side: &Side| {
            let saved = |(key, values): (&Arc<str>, &Values)| SavedKey {
                key: key.to_string(),
                values: kept::save(values),
            };
            side.iter().map(saved).collect()
        };
        (self.watermark, [side(&self.sides[0]), side(&self.sides[1])])
    }

    /// Returns the events of a checkpoint.
    pub(super) fn load(watermark: Option<i64>, saved: [Vec<SavedKey>; 2]) -> Result<Self, String> {
        let side = |saved: Vec<SavedKey>| {
            let key = |saved: SavedKey| Ok((saved.key.into(), kept::load(saved.values)?));
            saved.into_iter().map(key).collect::<Result<Side, String>>()
        };
        let [left, right] = saved;
        Ok(Self { sides: [side(left)?, side(right)?], watermark })
    }

    /// Reports whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.sides.iter().all(BTreeMap::is_empty)
    }
}
