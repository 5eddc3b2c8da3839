//! The comparison of a release with today: what changed in each schema that was released.
//!
//! Documents of a released schema exist: in logs, in archives, in files of users. So a change is allowed in its place
//! only if every old document stays valid (`backward` or `full`); any other takes a new version.

use cim_schema::{Class, Judgement, judge};
use serde::Serialize;

use super::Catalogue;

/// A difference from the release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The schema's name.
    pub(crate) schema: String,
    /// The version that was released.
    pub(crate) version: u32,
    /// True if the change may not be made in this version.
    pub(crate) refused: bool,
    /// The state of the schema, in words, where there is no judgement.
    pub(crate) what: Option<String>,
    /// The judgement of the changes.
    #[serde(flatten)]
    pub(crate) judgement: Option<Judgement>,
}

/// Compares each released schema with today's of the same version. Those that are equal are left out.
pub(crate) fn check(released: &Catalogue, today: &Catalogue) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (schema, versions) in &released.schemas {
        for (version, old) in versions {
            let finding = |refused, what: Option<String>, judgement| Finding {
                schema: schema.clone(),
                version: *version,
                refused,
                what,
                judgement,
            };
            let new = today.schemas.get(schema).and_then(|versions| versions.get(version));
            findings.push(match new {
                None => finding(true, Some("was removed".into()), None),
                Some(new) if new == old => continue,
                Some(new) => match judge(old, new) {
                    Ok(judgement) => finding(!judgement.class.is_backward(), None, Some(judgement)),
                    Err(unjudged) => finding(true, Some(unjudged.to_string()), None),
                },
            });
        }
    }
    findings
}

impl Finding {
    /// Returns the class of the change; a schema that was removed, or cannot be judged, is broken.
    pub(crate) fn class(&self) -> Class {
        self.judgement.as_ref().map_or(Class::Breaking, |judgement| judgement.class)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;

    fn catalogue(schemas: &[(&str, u32, Value)]) -> Catalogue {
        let mut all: BTreeMap<String, BTreeMap<u32, Value>> = BTreeMap::new();
        for (name, version, schema) in schemas {
            all.entry((*name).to_owned()).or_default().insert(*version, schema.clone());
        }
        Catalogue { dir: "none".into(), schemas: all }
    }

    /// Fails the build where a released schema was changed so that it refuses documents of before.
    #[test]
    fn what_was_released_keeps_its_meaning() {
        let today = Catalogue::load(None).unwrap();
        let (_, released) = today.last_release().unwrap().unwrap();
        let findings = check(&released, &today);
        let refused: Vec<_> = findings.iter().filter(|finding| finding.refused).collect();
        assert!(refused.is_empty(), "they need a new version: {refused:#?}");
    }

    /// A release is what was given away: its files are never changed. A new release adds a line.
    #[test]
    fn releases_are_as_they_were_given_away() {
        use sha2::{Digest as _, Sha256};

        let dir = Catalogue::load(None).unwrap().last_release().unwrap().unwrap().1.dir;
        let list = |dir: &std::path::Path| {
            let mut paths: Vec<_> =
                std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
            paths.sort();
            paths
        };
        let digests = list(&dir).into_iter().map(|release| {
            let mut hash = Sha256::new();
            for file in list(&release).iter().flat_map(|schema| list(schema)) {
                hash.update(file.strip_prefix(&release).unwrap().to_str().unwrap());
                hash.update(std::fs::read(&file).unwrap());
            }
            format!("{} {}", release.file_name().unwrap().display(), hex::encode(hash.finalize()))
        });
        insta::assert_snapshot!(digests.collect::<Vec<_>>().join("\n"), @"0.1.0 e81b4e64984d1464d6e077a7a4e0dc5dd2ff02cadecab1237509f85d10b0b207");
    }

    #[test]
    fn only_what_keeps_every_old_document_valid_may_change_in_its_place() {
        let old = json!({ "type": "object", "required": ["a"], "properties": { "a": { "type": "integer" } } });
        let wider = json!({ "type": "object", "properties": { "a": { "type": "number" } } });
        let texts = json!({ "type": "object", "description": "more", "required": ["a"], "properties": { "a": { "type": "integer" } } });
        let released = catalogue(&[("t", 1, old.clone())]);
        let one = |today: &Value| {
            let found = check(&released, &catalogue(&[("t", 1, today.clone())]));
            assert_eq!(found.len(), 1);
            (found[0].class(), found[0].refused)
        };
        assert_eq!(one(&wider), (Class::Backward, false));
        assert_eq!(one(&texts), (Class::Full, false));
        let narrower = catalogue(&[("t", 1, wider)]);
        let found = check(&narrower, &catalogue(&[("t", 1, old.clone())]));
        assert_eq!((found[0].class(), found[0].refused), (Class::Forward, true));
        // A new version beside the released one is no change of it.
        let more = catalogue(&[("t", 1, old), ("t", 2, json!({ "type": "string" }))]);
        assert_eq!(check(&released, &more), []);
        let gone = check(&released, &catalogue(&[("u", 1, json!(true))]));
        assert_eq!((gone[0].class(), gone[0].refused), (Class::Breaking, true));
    }
}
