//! Keywords of arrays.

use super::scalar::alike;
use super::{Obstacle, Proof, Prover};
use crate::cases::{Case, is_empty};
use crate::eval::count;
use crate::kind::Kind;
use crate::node::Node;

impl Prover {
    /// Proves the keywords of arrays for a case.
    pub(super) fn array<'a>(&mut self, case: &Case<'a>, right: Node<'a>, proof: &mut Proof<'a>) {
        let Some(keywords) = right.keywords().filter(|_| case.kind == Kind::Array) else { return };
        let most = most(case);
        for (keyword, said) in keywords {
            let lack = match keyword.as_str() {
                "minItems" => count(said)
                    .is_none_or(|least| case.least("minItems") < least)
                    .then(|| Obstacle::new("minItems", format!("have fewer than {said} items"))),
                "maxItems" => {
                    let fits = most.zip(count(said)).is_some_and(|(a, b)| a <= b);
                    (!fits)
                        .then(|| Obstacle::new("maxItems", format!("have more than {said} items")))
                }
                "uniqueItems" => {
                    let unique = || case.said("uniqueItems").any(|said| *said == true);
                    let proven = *said == false || unique() || most.is_some_and(|most| most <= 1);
                    (!proven).then(|| Obstacle::new("uniqueItems", "have an item twice"))
                }
                "contains" => {
                    alike(case, right, &["contains", "minContains", "maxContains"], "contains")
                }
                "unevaluatedItems" if *said != true => {
                    Some(Obstacle::undecided("unevaluatedItems", "have items besides"))
                }
                _ => None,
            };
            proof.obstacles.extend(lack);
        }
        let own = right.list("prefixItems");
        let last = case.prefix().max(own.len());
        for index in 0..=last {
            if most.is_some_and(|most| most <= index as u64) {
                break;
            }
            let Some(asked) = own.get(index).copied().or_else(|| right.below("items")) else {
                continue;
            };
            let step = if index < last { format!("/prefixItems/{index}") } else { "/items".into() };
            let item = case.item(index);
            if *asked.schema == false {
                if !is_empty(&item) {
                    let text = format!("have an item at {index}");
                    proof.lack([Obstacle::new("items", text)], &step);
                }
                continue;
            }
            proof.lack(self.contained(&item, asked), &step);
        }
    }
}

/// Returns the greatest number of items, if there is one.
fn most(case: &Case<'_>) -> Option<u64> {
    let said = case.most("maxItems");
    let closed = (0..=case.prefix()).find(|index| is_empty(&case.item(*index)));
    let closed = closed.map(|index| index as u64);
    match (said, closed) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
