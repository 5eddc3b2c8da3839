//! Stages that look at one event at a time: map, filter, branch, enrich.

use std::sync::Arc;

use jaq_json::Val;

use super::event::Event;
use crate::definition::Step;
use crate::value;

/// Returns the events that follow from one, with the way that each takes.
pub(super) fn one(step: &Step, event: Event) -> Result<Vec<(usize, Event)>, String> {
    match step {
        Step::Map(expression) => Ok(each(&event, expression.run(event.value.clone(), vec![])?)),
        Step::Enrich { lookup, table, expression } => {
            let key = value::label(&lookup.one(event.value.clone())?);
            let entry = table.get(&key).cloned().unwrap_or_default();
            Ok(each(&event, expression.run(event.value.clone(), vec![entry])?))
        }
        Step::Filter(expression) => {
            let holds = expression.holds(event.value.clone())?;
            Ok(if holds { vec![(0, event)] } else { Vec::new() })
        }
        Step::Branch(cases) => {
            for (way, case) in cases.iter().enumerate() {
                if case.holds(event.value.clone())? {
                    return Ok(vec![(way, event)]);
                }
            }
            Ok(vec![(cases.len(), event)])
        }
        Step::Aggregate { .. } | Step::Join { .. } => unreachable!("these have state"),
    }
}

/// Returns an event for each value: the first keeps the id, the others get a number.
pub(super) fn each(event: &Event, values: Vec<Val>) -> Vec<(usize, Event)> {
    let number = |(index, value): (usize, Val)| {
        let id =
            if index == 0 { Arc::clone(&event.id) } else { format!("{}.{index}", event.id).into() };
        (0, Event { id, time: event.time, key: Arc::clone(&event.key), value })
    };
    values.into_iter().enumerate().map(number).collect()
}
