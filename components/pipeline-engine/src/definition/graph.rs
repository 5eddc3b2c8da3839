//! The graph of stages: sources by name, no cycles, nothing that leads nowhere, and types that fit.

use std::collections::{BTreeMap, BTreeSet};

use super::lower::{Draft, Drafts};
use super::lowering::{Lowering, nearest, path};
use super::stage::{Definition, Output, Port, Shape, Stage, Step};

pub(super) fn resolve(drafts: Drafts, at: &mut Lowering<'_>) -> Option<Definition> {
    let Drafts { pipeline, input, stages, outputs } = drafts;
    unique(&stages, &outputs.iter().map(|output| output.name.as_str()).collect::<Vec<_>>(), at);
    if outputs.is_empty() {
        at.wrong(
            "output",
            &path(&["pipeline"]),
            "there is no `[[output]]`: add one, so that something comes out",
        );
    }
    let mut sources = Vec::new();
    for (index, stage) in stages.iter().enumerate() {
        let place = path(&[
            "stage",
            &index.to_string(),
            if stage.from.is_some() { "from" } else { "name" },
        ]);
        let key = format!("stage.{}.from", stage.name);
        let ports = ports(stage.from.as_deref(), index.checked_sub(1), &stages, |message| {
            at.wrong(&key, &place, message);
        });
        if matches!(stage.step, Step::Join { .. }) && ports.len() != 2 {
            at.wrong(&key, &place, "a join has two sources: `from = [\"left\", \"right\"]`");
        }
        sources.push(ports);
    }
    let mut exits = Vec::new();
    for (index, output) in outputs.into_iter().enumerate() {
        let place = path(&[
            "output",
            &index.to_string(),
            if output.from.is_some() { "from" } else { "name" },
        ]);
        let key = format!("output.{}.from", output.name);
        let from = ports(output.from.as_deref(), stages.len().checked_sub(1), &stages, |message| {
            at.wrong(&key, &place, message);
        });
        exits.push(Output { name: output.name, from, subject: output.subject });
    }
    dangling(&stages, &sources, &exits, at);
    let order = order(&stages, &sources, at)?;
    if !at.problems.is_empty() {
        return None;
    }
    let shapes = shapes(&stages, &sources, &order, input.gives, at);
    // From the order of the document to that of the flow.
    let mut moved: BTreeMap<usize, usize> = BTreeMap::new();
    for (new, old) in order.iter().enumerate() {
        moved.insert(*old, new);
    }
    let port = |port: Port| Port { stage: port.stage.map(|stage| moved[&stage]), way: port.way };
    let mut drafts: Vec<Option<Draft>> = stages.into_iter().map(Some).collect();
    let stages = order.iter().map(|old| {
        let draft = drafts[*old].take().expect("an order names each stage once");
        let from = sources[*old].iter().cloned().map(port).collect();
        let takes = draft.takes.unwrap_or(Shape::Any);
        Stage {
            name: draft.name,
            from,
            takes,
            gives: shapes[old],
            parallel: draft.parallel,
            step: draft.step,
        }
    });
    let stages = stages.collect();
    for exit in &mut exits {
        exit.from = std::mem::take(&mut exit.from).into_iter().map(port).collect();
    }
    Some(Definition { pipeline, input, stages, outputs: exits })
}

fn unique(stages: &[Draft], outputs: &[&str], at: &mut Lowering<'_>) {
    let names = [
        ("stage", stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>()),
        ("output", outputs.to_vec()),
    ];
    for (kind, names) in names {
        let mut seen = BTreeSet::new();
        for (index, name) in names.into_iter().enumerate() {
            if !seen.insert(name) {
                let place = path(&[kind, &index.to_string(), "name"]);
                at.wrong(
                    &format!("{kind}.name"),
                    &place,
                    format!("`{name}` is there already: give each {kind} its own name"),
                );
            }
        }
    }
}

/// Returns the sources that are named, or the one before.
fn ports(
    named: Option<&[String]>,
    before: Option<usize>,
    stages: &[Draft],
    mut wrong: impl FnMut(String),
) -> Vec<Port> {
    let Some(names) = named else {
        let Some(before) = before else { return vec![Port { stage: None, way: 0 }] };
        if matches!(stages[before].step, Step::Branch(_)) {
            let name = &stages[before].name;
            wrong(format!(
                "`{name}` has several ways: say `from = \"{name}.{}\"`",
                stages[before].ways[0]
            ));
        }
        return vec![Port { stage: Some(before), way: 0 }];
    };
    if names.is_empty() {
        wrong("no source is named: name one, or leave `from` out for the stage before".into());
    }
    let mut ports = Vec::new();
    for name in names {
        match port(name, stages) {
            Ok(port) => ports.push(port),
            Err(message) => wrong(message),
        }
    }
    ports
}

fn port(name: &str, stages: &[Draft]) -> Result<Port, String> {
    if name == "input" {
        return Ok(Port { stage: None, way: 0 });
    }
    let (stage, way) = name.split_once('.').unwrap_or((name, ""));
    let Some(index) = stages.iter().position(|known| known.name == stage) else {
        let names = stages.iter().map(|known| known.name.as_str()).chain(["input"]);
        return Err(format!("there is no stage `{stage}`{}", nearest(stage, names)));
    };
    let ways = &stages[index].ways;
    ways.iter()
        .position(|known| known == way)
        .map(|way| Port { stage: Some(index), way })
        .ok_or_else(|| {
            let known: Vec<_> = ways
                .iter()
                .filter(|way| !way.is_empty())
                .map(|way| format!("`{stage}.{way}`"))
                .collect();
            if known.is_empty() {
                format!("`{stage}` has one way out: write `{stage}`")
            } else if way.is_empty() {
                format!("say which way out of `{stage}`: {}", known.join(", "))
            } else {
                format!("`{name}` is no way out of `{stage}`: there are {}", known.join(", "))
            }
        })
}

/// Notes every stage and case that nothing reads. Late events and `else` may be left: they are counted.
fn dangling(stages: &[Draft], sources: &[Vec<Port>], outputs: &[Output], at: &mut Lowering<'_>) {
    let read: BTreeSet<_> =
        sources.iter().flatten().chain(outputs.iter().flat_map(|output| &output.from)).collect();
    for (index, stage) in stages.iter().enumerate() {
        for (way, name) in stage.ways.iter().enumerate() {
            if !read.contains(&Port { stage: Some(index), way })
                && !["late", "else"].contains(&name.as_str())
            {
                let whole = if name.is_empty() {
                    stage.name.clone()
                } else {
                    format!("{}.{name}", stage.name)
                };
                let place = path(&["stage", &index.to_string(), "name"]);
                at.wrong(
                    &format!("stage.{}", stage.name),
                    &place,
                    format!("nothing reads `{whole}`: name it in a `from`, or remove it"),
                );
            }
        }
    }
}

/// Returns the stages so that sources come before those that they feed.
fn order(stages: &[Draft], sources: &[Vec<Port>], at: &mut Lowering<'_>) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = Vec::new();
    let mut done = vec![false; stages.len()];
    loop {
        let ready = (0..stages.len()).find(|index| {
            !done[*index]
                && sources[*index].iter().all(|port| port.stage.is_none_or(|stage| done[stage]))
        });
        let Some(ready) = ready else { break };
        done[ready] = true;
        order.push(ready);
    }
    let Some(first) = done.iter().position(|done| !done) else { return Some(order) };
    // Follow sources that are not done until one comes again.
    let mut way = vec![first];
    loop {
        let last = *way.last().expect("it begins with one");
        let next = sources[last].iter().filter_map(|port| port.stage).find(|stage| !done[*stage]);
        let next = next.expect("a stage that is not done has a source that is not done");
        if let Some(from) = way.iter().position(|stage| *stage == next) {
            let mut circle: Vec<_> =
                way[from..].iter().rev().map(|stage| stages[*stage].name.as_str()).collect();
            circle.insert(0, stages[next].name.as_str());
            circle.dedup();
            if circle.len() == 1 {
                circle.push(circle[0]);
            }
            let place = path(&["stage", &next.to_string(), "from"]);
            let message = format!("the stages go in a circle: {}", circle.join(" → "));
            at.wrong(&format!("stage.{}.from", stages[next].name), &place, message);
            return None;
        }
        way.push(next);
    }
}

/// Returns the form of what each stage gives, and notes where one takes another.
fn shapes(
    stages: &[Draft],
    sources: &[Vec<Port>],
    order: &[usize],
    input: Shape,
    at: &mut Lowering<'_>,
) -> BTreeMap<usize, Shape> {
    let mut shapes: BTreeMap<usize, Shape> = BTreeMap::new();
    for index in order {
        let stage = &stages[*index];
        let mut into: Option<Shape> = None;
        for port in &sources[*index] {
            let (name, shape) = match port.stage {
                None => ("input", input),
                Some(from) => (
                    stages[from].name.as_str(),
                    if stages[from].ways[port.way] == "late" { Shape::Any } else { shapes[&from] },
                ),
            };
            if let Some(takes) = stage.takes
                && !takes.takes(shape)
                && shape != Shape::Any
            {
                let place = path(&["stage", &index.to_string(), "takes"]);
                let message =
                    format!("takes {}, and `{name}` gives {}", takes.name(), shape.name());
                at.wrong(&format!("stage.{}.takes", stage.name), &place, message);
            }
            into = Some(if into.is_none_or(|before| before == shape) { shape } else { Shape::Any });
        }
        let passes = matches!(stage.step, Step::Filter(_) | Step::Branch(_));
        let through = stage.takes.or(into).unwrap_or(Shape::Any);
        if passes
            && stage.gives.is_some_and(|gives| {
                gives != Shape::Any && through != Shape::Any && gives != through
            })
        {
            let place = path(&["stage", &index.to_string(), "gives"]);
            let message = format!("passes on {} as it is: remove `gives`", through.name());
            at.wrong(&format!("stage.{}.gives", stage.name), &place, message);
        }
        shapes.insert(*index, stage.gives.unwrap_or(if passes { through } else { Shape::Any }));
    }
    shapes
}
