//! Rules between values that are each right. Each rule reports all that it finds.
//!
//! nixos/lib has the same rules, so that a configuration that builds is one that this accepts.
//! fixtures/inventory/cases holds the cases on which both must agree.

mod containers;
mod hosts;
mod nats;
mod streams;
mod tiers;

use std::collections::BTreeMap;
use std::fmt::Display;

use super::{Inventory, Problem, ProblemKind};

impl Inventory {
    /// Returns every problem, in the order of the file's parts; empty if the inventory can be used.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Problems(Vec::new());
        hosts::check(self, &mut found);
        nats::check(self, &mut found);
        containers::check(self, &mut found);
        tiers::check(self, &mut found);
        streams::check(self, &mut found);
        found.0
    }
}

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, kind: ProblemKind, message: impl Into<String>) {
        self.0.push(Problem { kind, message: message.into() });
    }

    fn add_if(&mut self, wrong: bool, kind: ProblemKind, message: impl FnOnce() -> String) {
        if wrong {
            self.add(kind, message());
        }
    }
}

/// Returns `` `a` and `b` ``.
fn all_of<T: Display>(names: impl IntoIterator<Item = T>, between: &str) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(between)
}

/// Returns the keys that several values have, with those values.
fn shared<K: Ord, V>(pairs: impl IntoIterator<Item = (K, V)>) -> impl Iterator<Item = (K, Vec<V>)> {
    let mut groups: BTreeMap<K, Vec<V>> = BTreeMap::new();
    for (key, value) in pairs {
        groups.entry(key).or_default().push(value);
    }
    groups.into_iter().filter(|(_, values)| values.len() > 1)
}

/// Returns every pair of different places of a list, once.
fn pairs<T>(items: &[T]) -> impl Iterator<Item = (&T, &T)> {
    items.iter().enumerate().flat_map(|(i, a)| items[i + 1..].iter().map(move |b| (a, b)))
}
