//! `cim-harness scenario new`

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use crate::error::{Error, Result, make_dir};
use crate::lab::tools::project_dir;
use crate::output::{print, remark};
use crate::scenario;

/// The flags.
#[derive(Debug, clap::Args)]
#[command(after_help = "Prints the file's path. Refuses to overwrite.")]
pub(crate) struct Args {
    /// Its name: small letters, digits and dashes.
    name: String,
    /// The directory for the file [default: fixtures/scenarios of the project].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Begin with a copy of this scenario, by name or by path, instead of an explained one.
    #[arg(long, value_name = "EXISTING")]
    from: Option<String>,
}

const TEMPLATE: &str = include_str!("template.toml");

pub(super) fn main(args: &Args) -> Result<ExitCode> {
    named(&args.name)?;
    let dir = scenario::directory(args.dir.as_deref())?;
    let path = dir.join(format!("{}.toml", args.name));
    let text = match &args.from {
        Some(existing) => copy(args, existing)?,
        None => TEMPLATE.replace("{steps}\n", &kinds_of_step()).replace("{name}", &args.name),
    };
    let text = schema_line(&dir) + &text;
    // A text that would be refused is not written.
    scenario::parse(&path, &text)?;
    make_dir(&dir)?;
    write_new(&path, &text)?;
    print(&path.display().to_string());
    let at = args.dir.as_deref().map(|dir| format!(" --dir {}", dir.display()));
    let name = format!("{}{}", args.name, at.unwrap_or_default());
    remark(&format!("check it: cim-harness scenario check {name}"));
    remark(&format!("run it:   cim-harness scenario {name}"));
    Ok(ExitCode::SUCCESS)
}

fn named(name: &str) -> Result<()> {
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let well = name.bytes().all(letters) && name.starts_with(|c: char| c.is_ascii_lowercase());
    if well && name.len() <= 60 {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "`{name}` is not a name for a scenario: use at most 60 small letters, digits and dashes, a letter first"
    )))
}

/// Returns another scenario's text, without the line that points an editor to the schema from
/// there.
fn copy(args: &Args, existing: &str) -> Result<String> {
    let from = scenario::path_of(args.dir.as_deref(), existing)
        .or_else(|error| scenario::path_of(None, existing).map_err(|_| error))?;
    scenario::examine_file(&from)
        .map_err(|found| Error::Usage(scenario::Diagnostic::first_of(&found)))?;
    let text = std::fs::read_to_string(&from)
        .map_err(|e| Error::Usage(format!("cannot read `{}`: {e}", from.display())))?;
    let name = from.file_stem().unwrap_or_default().to_string_lossy();
    let mut copy =
        format!("# Began as a copy of `{name}`: say in `title` what is different here.\n");
    for line in text.lines().filter(|line| !line.starts_with("#:schema")) {
        writeln!(copy, "{line}").expect("a String takes it");
    }
    Ok(copy)
}

fn kinds_of_step() -> String {
    scenario::kinds_of_step().into_iter().fold(String::new(), |mut text, (kind, what)| {
        writeln!(text, "#   {kind:<14} {what}").expect("a String takes it");
        text
    })
}

/// Returns the first line, by which editors complete and check the rest.
fn schema_line(dir: &Path) -> String {
    let schema = project_dir().map(|project| project.join("fixtures/schemas/scenario.json"));
    match schema.filter(|schema| schema.is_file()) {
        Some(schema) => format!("#:schema {}\n", relative(dir, &schema).display()),
        None => "# `cim-harness scenario schema >scenario.json` and a first line `#:schema ./scenario.json`\n\
                 # let an editor complete and check this file.\n"
            .to_owned(),
    }
}

/// Returns `to` as seen from a directory, if both share more than the root.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (from, to) = (plain(&absolute(from)), plain(&absolute(to)));
    let same = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    if same < 2 {
        return to;
    }
    let up = from.components().skip(same).map(|_| Component::ParentDir);
    up.chain(to.components().skip(same)).collect()
}

/// Removes `..`, by names alone.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
        plain
    })
}

fn write_new(path: &Path, text: &str) -> Result<()> {
    let cannot = |e: std::io::Error| match e.kind() {
        ErrorKind::AlreadyExists => Error::Usage(format!(
            "`{}` exists already: take another name, or delete it first",
            path.display()
        )),
        _ => Error::Usage(format!("cannot write `{}`: {e}", path.display())),
    };
    let mut file = std::fs::File::create_new(path).map_err(cannot)?;
    file.write_all(text.as_bytes()).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_editor_is_pointed_to_the_schema_from_where_the_file_is() {
        let to = Path::new("/a/cim/fixtures/schemas/scenario.json");
        for (from, wanted) in [
            ("/a/cim/fixtures/scenarios", "../schemas/scenario.json"),
            ("/a/cim/x/../fixtures/scenarios", "../schemas/scenario.json"),
            ("/a/cim", "fixtures/schemas/scenario.json"),
            ("/a/mine", "../cim/fixtures/schemas/scenario.json"),
            ("/tmp/x", "/a/cim/fixtures/schemas/scenario.json"),
        ] {
            assert_eq!(relative(Path::new(from), to), Path::new(wanted), "{from}");
        }
    }

    #[test]
    fn names_that_would_hurt_elsewhere_are_refused() {
        for name in ["x", "nas-loss-2"] {
            assert!(named(name).is_ok(), "{name}");
        }
        for name in ["", "Nas", "../x", "x.toml", "-x", "a b", "2x", "näs"] {
            assert!(named(name).is_err(), "{name}");
        }
    }
}
