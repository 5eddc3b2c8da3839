//! `export`: a unit and all that belongs to it, as a CAR file.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use cim_runtime::component::{Failure, Place};
use serde::Serialize;

use crate::car::{self, Content, FORMAT, Link, Manifest, Node, Step, VERSION, Writer};
use crate::closure::{self, Closure, Made};
use crate::content::{ContentError, Contents, List};
use crate::contract::{Edge, Word};
use crate::ids::{self, DAG_CBOR};
use crate::state::Units;

pub(super) async fn run(at: Place<'_>, contents: &Contents, unit: &Word) -> Result<(), Failure> {
    let units: Units = at.state().await?;
    let Some(closure) = closure::of(&units, unit) else {
        return Err(Failure::Usage(format!("there is no unit `{unit}`: look with `unit.list`")));
    };
    drop(units);
    let out = BufWriter::with_capacity(1 << 20, io::stdout());
    Ok(write(contents, unit, closure, out).await?)
}

async fn write(
    contents: &Contents,
    unit: &Word,
    closure: Closure,
    out: impl Write,
) -> Result<(), ContentError> {
    let (mut of_contents, mut lists) = (BTreeMap::new(), Vec::new());
    let mut small = Vec::new();
    for id in &closure.contents {
        let (list, _) = contents.list(id).await?;
        let chunks = list.chunks.iter();
        let chunks = chunks.map(|chunk| Node::chunk(ids::cid(&chunk.id), chunk.size)).collect();
        let (file, nodes) = car::file(chunks);
        let links: Vec<_> =
            list.chunks.iter().map(|chunk| (ids::cid(&chunk.id), chunk.size)).collect();
        let (chunks, block) = cbor(&links);
        of_contents.insert(id.to_string(), Content { file, chunks, size: list.size });
        small.push((chunks, block));
        small.extend(nodes);
        lists.push(list);
    }
    let history = closure.history.iter().map(|made| match made {
        Made::Type(name, schema) => Step::Type { name: name.clone(), schema: schema.clone() },
        Made::Unit(record, _) => Step::Unit { record: *record },
    });
    let links = closure.links.into_iter().map(|(unit, edge)| {
        let Edge { relation, unit: target } = edge;
        Link { unit, relation, target }
    });
    let manifest = Manifest {
        format: FORMAT.into(),
        version: VERSION,
        unit: unit.clone(),
        history: history.collect(),
        links: links.collect(),
        contents: of_contents,
    };
    let (root, block) = cbor(&manifest);
    let mut file = Writer::new(out, root)?;
    file.block(root, &block)?;
    for made in closure.history {
        if let Made::Unit(id, block) = made {
            file.block(id, &block)?;
        }
    }
    for (id, block) in small {
        file.block(id, &block)?;
    }
    for List { chunks, .. } in lists {
        for chunk in chunks {
            let id = ids::cid(&chunk.id);
            if !file.has(&id) {
                file.block(id, &contents.block(&chunk.id).await?.0)?;
            }
        }
    }
    Ok(file.end()?)
}

fn cbor(value: &impl Serialize) -> (cid::Cid, Vec<u8>) {
    let block = serde_ipld_dagcbor::to_vec(value).expect("words, ids and JSON are DAG-CBOR");
    (ids::of_block(DAG_CBOR, &block), block)
}
