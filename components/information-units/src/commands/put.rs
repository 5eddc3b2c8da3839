//! `put`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use cim_runtime::component::Failure;
use cim_runtime::output::print;

use crate::content::Contents;

pub(super) async fn run(
    contents: &Contents,
    file: &Path,
    anew: bool,
    json: bool,
) -> Result<(), Failure> {
    let reader: Box<dyn Read + Send> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(file).map_err(|error| {
            Failure::Usage(format!("`{}` cannot be opened: {error}", file.display()))
        })?)
    };
    let stored = contents.put(reader, anew).await?;
    let text = if json {
        serde_json::to_string(&stored).expect("ids and numbers are JSON")
    } else {
        stored.content.to_string()
    };
    print(text).map_err(|error| Failure::Other(error.to_string()))
}
