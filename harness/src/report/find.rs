//! Finds and reads the reports of finished runs.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Report, Verdict, table};
use crate::error::{Error, Result};
use crate::soak;

/// A run's directory that was kept.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Kept {
    /// Its name.
    pub(crate) name: String,
    /// Its path.
    pub(crate) path: PathBuf,
    /// `passed`, `failed`, `skipped`; `soak`; absent for a run without a verdict.
    pub(crate) verdict: Option<String>,
    /// The time of its start.
    pub(crate) started_at: Option<Timestamp>,
    /// The reason why it did not pass.
    pub(crate) reason: Option<String>,
}

/// The fields of a report for a list.
#[derive(Deserialize)]
struct Head {
    verdict: Verdict,
    started_at: Timestamp,
    reason: Option<String>,
}

/// Lists every run and soak that is kept in `root`, oldest first.
pub(crate) fn list(root: &Path) -> Result<Vec<Kept>> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Error::Usage(format!("cannot read `{}`: {error}", root.display())));
        }
    };
    let mut kept: Vec<(std::time::SystemTime, Kept)> = Vec::new();
    for entry in entries.filter_map(std::result::Result::ok) {
        let path = entry.path();
        let is_soak = path.join(soak::FILE).is_file();
        // Every run has logs from its start.
        if !is_soak && !path.join("logs").is_dir() {
            continue;
        }
        let head = std::fs::read(path.join("report.json")).ok();
        let head = head.and_then(|text| serde_json::from_slice::<Head>(&text).ok());
        let made = entry.metadata().and_then(|m| m.created().or_else(|_| m.modified()));
        let verdict = head.as_ref().map(|head| head.verdict.to_string());
        kept.push((
            made.unwrap_or(std::time::UNIX_EPOCH),
            Kept {
                name: entry.file_name().to_string_lossy().into_owned(),
                path,
                verdict: if is_soak { Some("soak".to_owned()) } else { verdict },
                started_at: head.as_ref().map(|head| head.started_at),
                reason: head.and_then(|head| head.reason),
            },
        ));
    }
    kept.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
    Ok(kept.into_iter().map(|(_, kept)| kept).collect())
}

/// Returns the list for a terminal.
pub(crate) fn table_of(kept: &[Kept]) -> String {
    let mut table = table(&["run", "started", "verdict", "reason"]);
    for run in kept {
        table.add_row([
            run.name.clone(),
            run.started_at.map_or_else(String::new, |at| at.strftime("%F %T").to_string()),
            run.verdict.clone().unwrap_or_else(|| "no verdict".to_owned()),
            run.reason.clone().unwrap_or_default(),
        ]);
    }
    table.to_string()
}

/// Returns the newest run of `root`.
pub(crate) fn newest(root: &Path) -> Result<PathBuf> {
    let newest = list(root)?.pop().map(|run| run.path);
    newest.ok_or_else(|| {
        let root = root.display();
        Error::Usage(format!("no run is kept in `{root}`: `--keep` keeps one that passed"))
    })
}

/// Finds a run by a path, by a name under `root`, or by the beginning of exactly one name.
pub(crate) fn find(root: &Path, name: &str) -> Result<PathBuf> {
    for path in [PathBuf::from(name), root.join(name)] {
        if path.exists() {
            return Ok(path);
        }
    }
    let runs = list(root)?;
    let mut begin = runs.iter().filter(|run| run.name.starts_with(name));
    match (begin.next(), begin.next()) {
        (Some(one), None) => Ok(one.path.clone()),
        (Some(one), Some(two)) => {
            let (one, two) = (&one.name, &two.name);
            Err(Error::Usage(format!(
                "`{name}` is the beginning of `{one}`, `{two}` and maybe more: write more of it"
            )))
        }
        (None, _) => {
            let root = root.display();
            Err(Error::Usage(format!(
                "`{name}` is neither a file nor a run in `{root}`: `cim-harness report --list` shows them"
            )))
        }
    }
}

/// Reads the reports of a run's directory, or of a file: one report, one a line, or the output of
/// `--all`.
pub(crate) fn read(path: &Path) -> Result<Vec<Report>> {
    if path.is_dir() {
        let file = path.join("report.json");
        if !file.is_file() {
            let path = path.display();
            return Err(Error::Usage(format!(
                "`{path}` has no report.json: the run came to no verdict; its logs are in `{path}/logs`"
            )));
        }
        return read(&file);
    }
    let wrong = |what: String| Error::Usage(format!("`{}`: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let whole = match serde_json::from_str(&text) {
        Ok(report) => return Ok(vec![report]),
        Err(error) => error,
    };
    if let Ok(All { runs }) = serde_json::from_str(&text) {
        return Ok(runs);
    }
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    if lines.len() < 2 || !lines[0].trim_end().ends_with('}') {
        return Err(wrong(format!("not a report: {whole}")));
    }
    let mut reports = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(report) => reports.push(report),
            // The last line of `--repeat --json` is the summary.
            Err(_) if line.starts_with("{\"repeat\":") => {}
            Err(error) => return Err(wrong(format!("line {} is not a report: {error}", at + 1))),
        }
    }
    Ok(reports)
}

#[derive(Deserialize)]
struct All {
    runs: Vec<Report>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn reports_are_read_in_every_form_that_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("some.json");
        let report = sample();
        let line = serde_json::to_string(&report).unwrap();
        for (text, count) in [
            (serde_json::to_string_pretty(&report).unwrap(), 1),
            (format!("{line}\n"), 1),
            (format!("{line}\n{line}\n{{\"repeat\":{{}}}}\n"), 2),
            (format!("{{\"seed\":1,\"runs\":[{line},{line},{line}]}}"), 3),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(read(&file).unwrap(), vec![report.clone(); count]);
        }
        for text in ["", "{}", "no", "{\n}", &format!("{line}\n{{}}\n")] {
            std::fs::write(&file, text).unwrap();
            assert!(read(&file).is_err(), "{text}");
        }
    }

    #[test]
    fn a_report_from_before_there_was_a_timeline_is_read() {
        let mut value = serde_json::to_value(sample()).unwrap();
        let report = value.as_object_mut().unwrap();
        for field in ["timeline", "arguments", "lacking"] {
            report.remove(field);
        }
        report["steps"][0].as_object_mut().unwrap().remove("nature");
        for field in ["began_seconds", "restored_seconds", "read_seconds", "first_ack_seconds"] {
            report["losses"][0].as_object_mut().unwrap().remove(field);
        }
        let old: Report = serde_json::from_value(value).unwrap();
        assert!(old.timeline.is_empty());
        assert!(super::super::html(&[old], &[]).contains("<svg"), "its steps can still be drawn");
    }

    #[test]
    fn a_run_is_found_by_the_beginning_of_its_name() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(list(&root.path().join("none")).unwrap().len(), 0);
        for name in ["tiering-1-7", "tiering-2-7", "nas-loss-1-7"] {
            std::fs::create_dir_all(root.path().join(name).join("logs")).unwrap();
        }
        std::fs::create_dir_all(root.path().join("something")).unwrap();
        assert_eq!(list(root.path()).unwrap().len(), 3);
        let found = |name: &str| find(root.path(), name).map_err(|error| error.to_string());
        assert_eq!(found("nas").unwrap(), root.path().join("nas-loss-1-7"));
        assert_eq!(found("tiering-1-7").unwrap(), root.path().join("tiering-1-7"));
        assert!(found("tier").unwrap_err().contains("write more of it"));
        assert!(found("x").unwrap_err().contains("`cim-harness report --list`"));
        let error = read(&root.path().join("nas-loss-1-7")).unwrap_err().to_string();
        assert!(error.contains("came to no verdict"), "{error}");
    }
}
