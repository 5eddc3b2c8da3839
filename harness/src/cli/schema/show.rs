//! `schema list`, `schema show` and `schema docs`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::error::{Result, write_file};
use crate::output::print;
use crate::report::table;
use crate::schema::{Catalogue, Name, markdown, page};

/// Prints a row a schema.
pub(super) fn list(catalogue: &Catalogue, json: bool) -> Result<ExitCode> {
    let released = catalogue.last_release()?;
    let of_release = |name: &str| {
        let (_, released) = released.as_ref()?;
        released.schemas.get(name)?.keys().next_back().copied()
    };
    if json {
        let rows = catalogue.schemas.iter().map(|(name, versions)| {
            json!({
                "name": name,
                "versions": versions.keys().collect::<Vec<_>>(),
                "released": of_release(name),
                "title": versions.values().next_back().and_then(|schema| schema["title"].as_str()),
            })
        });
        print(&format!("{:#}", json!(rows.collect::<Vec<_>>())));
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = table(&["schema", "versions", "released"]);
    for (name, versions) in &catalogue.schemas {
        let versions: Vec<_> = versions.keys().map(u32::to_string).collect();
        let released = of_release(name).map_or_else(|| "-".into(), |version| version.to_string());
        rows.add_row([name.clone(), versions.join(", "), released]);
    }
    print(&rows.to_string());
    Ok(ExitCode::SUCCESS)
}

/// Prints a schema as JSON.
pub(super) fn schema(catalogue: &Catalogue, name: &Name) -> Result<ExitCode> {
    let (_, schema) = catalogue.find(name)?;
    print(&format!("{schema:#}"));
    Ok(ExitCode::SUCCESS)
}

/// Prints the catalogue, or writes it as a page.
pub(super) fn docs(catalogue: &Catalogue, html: Option<&Path>, json: bool) -> Result<ExitCode> {
    if let Some(path) = html {
        write_file(path, page(catalogue))?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = markdown(catalogue);
    let text = text.trim_end();
    print(&if json { json!({ "markdown": text }).to_string() } else { text.to_owned() });
    Ok(ExitCode::SUCCESS)
}
