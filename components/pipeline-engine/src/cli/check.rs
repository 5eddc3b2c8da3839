//! `check`: all problems of a definition.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::STATUS_PROBLEMS;
use crate::definition::check;

pub(super) fn run(file: &Path, as_json: bool) -> Result<ExitCode, String> {
    let (text, format) = super::definition(file)?;
    let checked = check(&text, format);
    let problems = checked.as_ref().err().map_or(&[][..], Vec::as_slice);
    if as_json {
        let pipeline = checked.as_ref().ok().map(|definition| &definition.pipeline);
        println!("{}", json!({ "file": file, "pipeline": pipeline, "problems": problems }));
    } else {
        for problem in problems {
            println!("{}:{problem}", file.display());
        }
        if let Ok(definition) = &checked {
            println!(
                "`{}` has no problem: {} stages, {} outputs",
                definition.pipeline,
                definition.stages.len(),
                definition.outputs.len()
            );
        }
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(STATUS_PROBLEMS) })
}
