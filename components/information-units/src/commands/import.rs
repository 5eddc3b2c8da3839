//! `import`: a CAR file of `export`, into the object store and through the service.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use cid::Cid;
use cim_core::names::ContentId;
use cim_runtime::component::{Failure, Place};
use cim_runtime::output::print;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::service::Service;
use crate::car::{CarError, FORMAT, Manifest, Reader, Step, VERSION};
use crate::content::{Chunk, Contents, List};
use crate::ids::{self, RAW};
use crate::record::Record;
use crate::state::Units;

pub(super) async fn run(at: Place<'_>, contents: &Contents, file: &Path) -> Result<(), Failure> {
    let from: Box<dyn Read + Send> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(file).map_err(|error| {
            Failure::Usage(format!("`{}` cannot be opened: {error}", file.display()))
        })?)
    };
    let mut reader = Reader::new(BufReader::new(from))?;
    // Chunks go into the store as they come; all else is small and kept.
    let mut kept = BTreeMap::new();
    while let Some((id, bytes)) = reader.next()? {
        if id.codec() == RAW {
            contents.put_block(&ids::named(&id), &bytes).await?;
        } else {
            kept.insert(id, bytes);
        }
    }
    let manifest: Manifest = decoded(&kept, &reader.root)?;
    if manifest.format != FORMAT || manifest.version != VERSION {
        let Manifest { format, version, .. } = manifest;
        let why = format!("its root is of `{format}` {version}, not of `{FORMAT}` {VERSION}");
        return Err(CarError::Form(why).into());
    }
    for (id, content) in &manifest.contents {
        let id: ContentId = id.parse().map_err(|error| CarError::Form(format!("{error}")))?;
        let chunks: Vec<(Cid, u64)> = decoded(&kept, &content.chunks)?;
        let mut list = List { size: content.size, chunks: Vec::new() };
        for (chunk, size) in chunks {
            if let Some(bytes) = kept.get(&chunk) {
                contents.put_block(&ids::named(&chunk), bytes).await?;
            }
            list.chunks.push(Chunk { id: ids::named(&chunk), size });
        }
        contents.assemble(&id, &list).await?;
    }
    let service = Service::new(at.connect::<Units>().await?);
    let here: Units = at.state().await?;
    let changed = send(&service, &here, &kept, &manifest).await?;
    let line = format!("{}: {changed} of {} changes were new", manifest.unit, total(&manifest));
    print(line).map_err(|error| Failure::Other(error.to_string()))
}

fn total(manifest: &Manifest) -> usize {
    manifest.history.len() + manifest.links.len()
}

/// Sends what is not here yet, and returns the number of changes.
async fn send(
    service: &Service,
    here: &Units,
    kept: &BTreeMap<Cid, Vec<u8>>,
    manifest: &Manifest,
) -> Result<usize, Failure> {
    let (mut changed, mut types) = (0, BTreeMap::new());
    for step in &manifest.history {
        changed += usize::from(match step {
            Step::Type { name, schema } => {
                let before: &mut usize = types.entry(name).or_default();
                let known = here.types.get(name).and_then(|versions| versions.get(*before));
                *before += 1;
                if known.is_some_and(|known| known.schema == *schema) {
                    continue;
                }
                let expected = (*before > 1).then(|| *before - 1);
                let body = json!({ "type": name, "schema": schema, "expected": expected });
                service.command("type.register", &body).await?
            }
            Step::Unit { record } => {
                let id = ids::named(record);
                let Record { unit, previous, body } = decoded(kept, record)?;
                let known = here.all.get(&unit);
                if known.is_some_and(|known| known.versions.iter().any(|v| v.id == id)) {
                    continue;
                }
                let mut body = json!(body);
                body["unit"] = json!(unit);
                match previous {
                    None => service.command("unit.create", &body).await?,
                    Some(previous) => {
                        body["expected"] = json!(ids::named(&previous));
                        service.command("unit.update", &body).await?
                    }
                }
            }
        });
    }
    for link in &manifest.links {
        let body = json!({ "unit": link.unit, "relation": link.relation, "target": link.target });
        changed += usize::from(service.command("unit.link", &body).await?);
    }
    Ok(changed)
}

fn decoded<T: DeserializeOwned>(kept: &BTreeMap<Cid, Vec<u8>>, id: &Cid) -> Result<T, CarError> {
    let block = kept.get(id).ok_or_else(|| CarError::Form(format!("block `{id}` is not in it")))?;
    serde_ipld_dagcbor::from_slice(block)
        .map_err(|error| CarError::Form(format!("block `{id}` is not what it should be: {error}")))
}
