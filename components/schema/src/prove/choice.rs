//! Choices: `anyOf` and `oneOf`.

use serde_json::Value;

use super::scalar::disjoint;
use super::{Obstacle, Proof, Prover, one, words};
use crate::cases::{Case, Name, Part, cases};
use crate::node::Node;

/// The most members that are taken value by value.
const PINS: usize = 3;
/// The most values of such a member.
const VALUES: usize = 64;

impl Prover {
    /// Proves that a branch takes the case, and for `oneOf` that no other does.
    pub(super) fn choose<'a>(
        &mut self,
        case: &Case<'a>,
        right: Node<'a>,
        only_one: bool,
        references: u32,
    ) -> Proof<'a> {
        let keyword = if only_one { "oneOf" } else { "anyOf" };
        let branches = right.list(keyword);
        let possible: Vec<_> =
            branches.iter().copied().filter(|branch| !disjoint(case, *branch)).collect();
        let mut proofs: Vec<_> =
            possible.iter().map(|branch| self.prove(case, *branch, references)).collect();
        if only_one && possible.len() == 1 && proofs[0].is_done() {
            return proofs.remove(0);
        }
        if !only_one && proofs.iter().any(Proof::is_done) {
            let done = proofs.into_iter().filter(Proof::is_done);
            return Proof { holds: done.flat_map(|p| p.holds).collect(), obstacles: Vec::new() };
        }
        if let Some(proof) = self.split(case, right, only_one, references) {
            return proof;
        }
        if possible.len() == 1 {
            return Proof { holds: Vec::new(), obstacles: proofs.remove(0).obstacles };
        }
        let words = words(case);
        one(match possible.len() {
            0 => Obstacle::new(keyword, format!("be {words}, which no branch takes")),
            _ if only_one && proofs.iter().any(Proof::is_done) => {
                Obstacle::undecided(keyword, format!("be {words} that several branches take"))
            }
            n => {
                Obstacle::undecided(keyword, format!("be {words} that none of {n} branches takes"))
            }
        })
    }

    /// Proves a choice for each value of a member by itself, where a member tells the branches apart.
    fn split<'a>(
        &mut self,
        case: &Case<'a>,
        right: Node<'a>,
        only_one: bool,
        references: u32,
    ) -> Option<Proof<'a>> {
        let pinned = |part: &&Part<'_>| matches!(part, Part::Pinned(..));
        if case.parts.iter().filter(pinned).count() >= PINS {
            return None;
        }
        for name in case.required() {
            let known =
                |part: &Part<'_>| matches!(part, Part::Pinned(pinned, _) if *pinned == name);
            if case.parts.iter().any(known) {
                continue;
            }
            let Some(values) = listed(case, name).filter(|values| values.len() > 1) else {
                continue;
            };
            let mut holds: Option<Vec<Node<'a>>> = None;
            let mut done = true;
            for value in values {
                let mut parts = case.parts.clone();
                parts.push(Part::Pinned(name, value));
                let Ok(cases) = cases(&parts) else { return None };
                for case in cases.iter().filter(|one| one.kind == case.kind) {
                    let proof = self.choose(case, right, only_one, references);
                    done &= proof.is_done();
                    // Only what holds for all of them holds.
                    holds = Some(match holds.take() {
                        None => proof.holds,
                        Some(known) => {
                            let here = |a: &Node<'_>| proof.holds.iter().any(|b| a.id() == b.id());
                            known.into_iter().filter(here).collect()
                        }
                    });
                }
                if !done {
                    break;
                }
            }
            if done {
                return Some(Proof { holds: holds.unwrap_or_default(), obstacles: Vec::new() });
            }
        }
        None
    }
}

/// Returns all values of a member, if there are few.
fn listed<'a>(case: &Case<'a>, name: &'a str) -> Option<Vec<&'a Value>> {
    let mut all = Vec::new();
    for member in cases(&case.member(&Name::Known(name))).ok()? {
        for value in member.values? {
            match value {
                std::borrow::Cow::Borrowed(value) => all.push(value),
                std::borrow::Cow::Owned(_) => return None,
            }
        }
    }
    (all.len() <= VALUES).then_some(all)
}

/// Returns the member that tells a case from others: it is always there, and always the same.
pub(super) fn tag<'a>(case: &Case<'a>) -> Option<(&'a str, &'a Value)> {
    let mut required = case.required().into_iter();
    required.find_map(|name| match listed(case, name)?.as_slice() {
        [only] => Some((name, *only)),
        _ => None,
    })
}
