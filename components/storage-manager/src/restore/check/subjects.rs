//! Subjects: no two streams of an account may have one in common.

use std::collections::BTreeMap;

use cim_core::names::SubjectFilter;
use serde_json::Value;

use super::server::Server;
use crate::restore::error::RestoreError;
use crate::restore::plan::Plan;

/// Where a stream is that has a subject.
const HERE: &str = " on the server";
const RESTORED: &str = ", which is restored too";

/// The subjects that are taken, by their first token.
pub(super) struct Subjects {
    taken: BTreeMap<String, Vec<Taken>>,
}

#[derive(Clone)]
struct Taken {
    subject: SubjectFilter,
    stream: String,
    whose: &'static str,
}

impl Subjects {
    /// Returns the subjects of the streams that the server has.
    pub(super) fn of(server: &Server) -> Self {
        let mut subjects = Self { taken: BTreeMap::new() };
        for (name, info) in &server.streams.known {
            subjects.put(name, &info.record.config.value(), HERE);
        }
        subjects
    }

    /// Takes a stream's subjects, unless another one has some of them.
    pub(super) fn take(&mut self, plan: &Plan) -> Option<RestoreError> {
        let name = plan.target.as_str();
        for subject in subjects(name, &plan.config) {
            if let Some(other) = self.overlapping(&subject) {
                return Some(RestoreError::Overlaps {
                    stream: name.to_owned(),
                    subject: subject.to_string(),
                    theirs: other.subject.to_string(),
                    other: other.stream.clone(),
                    whose: other.whose,
                });
            }
        }
        self.put(name, &plan.config, RESTORED);
        None
    }

    fn put(&mut self, name: &str, config: &Value, whose: &'static str) {
        for subject in subjects(name, config) {
            let first = first_token(&subject).to_owned();
            let taken = Taken { subject, stream: name.to_owned(), whose };
            self.taken.entry(first).or_default().push(taken);
        }
    }

    fn overlapping(&self, subject: &SubjectFilter) -> Option<&Taken> {
        let overlaps = |taken: &&Taken| taken.subject.overlaps(subject);
        let first = first_token(subject);
        if is_wildcard(first) {
            return self.taken.values().flatten().find(overlaps);
        }
        [first, "*", ">"].into_iter().filter_map(|t| self.taken.get(t)).flatten().find(overlaps)
    }
}

fn first_token(subject: &SubjectFilter) -> &str {
    subject.tokens().next().unwrap_or_default()
}

fn is_wildcard(token: &str) -> bool {
    token == "*" || token == ">"
}

/// Returns the subjects on which a stream listens. One that names none, and copies no other stream, listens on its
/// own name. What this version does not take for a subject is left to the server.
fn subjects(name: &str, config: &Value) -> Vec<SubjectFilter> {
    let named: Vec<&str> =
        config["subjects"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let copies = config["mirror"].is_object()
        || config["sources"].as_array().is_some_and(|sources| !sources.is_empty());
    let named = if named.is_empty() && !copies { vec![name] } else { named };
    named.into_iter().filter_map(|subject| SubjectFilter::new(subject).ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn taken(of: &[(&str, Value)]) -> Subjects {
        let mut subjects = Subjects { taken: BTreeMap::new() };
        for (name, config) in of {
            subjects.put(name, config, HERE);
        }
        subjects
    }

    #[test]
    fn subjects_meet_whatever_their_first_token() {
        let streams = [
            ("A", json!({ "subjects": ["a.>", "b.x"] })),
            ("W", json!({ "subjects": ["*.w"] })),
            ("NAME", json!({})),
            ("MIRROR", json!({ "mirror": { "name": "A" } })),
        ];
        let subjects = taken(&streams);
        let meets = |subject: &str| {
            let subject = SubjectFilter::new(subject).unwrap();
            subjects.overlapping(&subject).map(|taken| taken.stream.clone())
        };
        for (subject, stream) in [
            ("a.1", Some("A")),
            ("b.*", Some("A")),
            ("b.y", None),
            ("c.w", Some("W")),
            ("*.x", Some("A")),
            (">", Some("W")),
            ("NAME", Some("NAME")),
            ("MIRROR", None),
            ("z.*.w", None),
        ] {
            assert_eq!(meets(subject).as_deref(), stream, "{subject}");
        }
    }
}
