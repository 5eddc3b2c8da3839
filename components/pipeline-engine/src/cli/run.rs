//! `run`: a definition over a file of events, without any server; compared with an expected output if one is given.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use similar::TextDiff;

use super::{STATUS_DIFFERENT, STATUS_PROBLEMS};
use crate::definition::check;
use crate::engine::{Lost, Out, Pipeline, lost_line, out_line};

/// The options of a run.
pub(super) struct Run<'a> {
    pub(super) definition: &'a Path,
    pub(super) file: &'a Path,
    pub(super) batch: usize,
    pub(super) expect: Option<&'a Path>,
    pub(super) accept: bool,
}

pub(super) fn run(run: &Run<'_>) -> Result<ExitCode, String> {
    let (text, format) = super::definition(run.definition)?;
    let definition = match check(&text, format) {
        Ok(definition) => definition,
        Err(problems) => {
            for problem in problems {
                eprintln!("{}:{problem}", run.definition.display());
            }
            return Ok(ExitCode::from(STATUS_PROBLEMS));
        }
    };
    let mut pipeline = Pipeline::new(definition);
    let cannot = |error: std::io::Error| format!("cannot read `{}`: {error}", run.file.display());
    let from: Box<dyn Read> = match run.file.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(std::fs::File::open(run.file).map_err(cannot)?),
    };
    let mut collected = String::new();
    let mut shown =
        Shown { expected: run.expect.is_some(), collected: &mut collected, lost: Vec::new() };
    let mut batch = Vec::with_capacity(run.batch);
    for (line, json) in BufReader::new(from).split(b'\n').enumerate() {
        let json = json.map_err(cannot)?;
        if json.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        batch.push(((line + 1).to_string(), json));
        if batch.len() == run.batch {
            let (outs, lost) = pipeline.push(&batch);
            shown.take(&pipeline, outs, lost)?;
            batch.clear();
        }
    }
    let (outs, lost) = pipeline.push(&batch);
    shown.take(&pipeline, outs, lost)?;
    let (outs, lost) = pipeline.finish();
    shown.take(&pipeline, outs, lost)?;
    let lost = std::mem::take(&mut shown.lost);
    for event in &lost {
        shown.line(&lost_line(event))?;
    }
    let counts = pipeline.counts();
    eprintln!(
        "{} events, {} dead or late, {} that nothing reads",
        counts.input,
        lost.len(),
        counts.unread
    );
    match run.expect {
        Some(expect) => compare(expect, &collected, run.accept),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Lines to stdout, or into memory to be compared.
struct Shown<'a> {
    expected: bool,
    collected: &'a mut String,
    lost: Vec<Lost>,
}

impl Shown<'_> {
    fn take(&mut self, pipeline: &Pipeline, outs: Vec<Out>, lost: Vec<Lost>) -> Result<(), String> {
        self.lost.extend(lost);
        for out in outs {
            match out_line(pipeline.definition(), &out) {
                Ok(line) => self.line(&line)?,
                Err(lost) => self.lost.push(lost),
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        if self.expected {
            self.collected.push_str(line);
            self.collected.push('\n');
            return Ok(());
        }
        match writeln!(std::io::stdout().lock(), "{line}") {
            // A reader that has gone has read enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            done => done.map_err(|error| format!("cannot write to stdout: {error}")),
        }
    }
}

fn compare(expect: &Path, found: &str, accept: bool) -> Result<ExitCode, String> {
    let expected = match std::fs::read_to_string(expect) {
        Ok(expected) => Some(expected),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("cannot read `{}`: {error}", expect.display())),
    };
    if expected.as_deref() == Some(found) {
        return Ok(ExitCode::SUCCESS);
    }
    if accept {
        std::fs::write(expect, found)
            .map_err(|error| format!("cannot write `{}`: {error}", expect.display()))?;
        eprintln!("`{}` holds the output now", expect.display());
        return Ok(ExitCode::SUCCESS);
    }
    let mut said = String::new();
    let diff = TextDiff::from_lines(expected.as_deref().unwrap_or_default(), found);
    let name = expect.display().to_string();
    let _ = write!(said, "{}", diff.unified_diff().context_radius(2).header(&name, "output"));
    print!("{said}");
    eprintln!(
        "the output is not that of `{name}`: mend the definition, or take it with `--accept`"
    );
    Ok(ExitCode::from(STATUS_DIFFERENT))
}
