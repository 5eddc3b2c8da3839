//! A document as it is written: every key known, none judged yet.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) pipeline: String,
    pub(super) format: u32,
    #[serde(default)]
    pub(super) input: Input,
    #[serde(default)]
    pub(super) stage: Vec<Stage>,
    #[serde(default)]
    pub(super) output: Vec<Output>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    pub(super) stream: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) id: Option<String>,
    pub(super) time: Option<String>,
    pub(super) key: Option<String>,
    pub(super) lateness: Option<String>,
    pub(super) gives: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stage {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) from: Option<From>,
    pub(super) takes: Option<String>,
    pub(super) gives: Option<String>,
    pub(super) parallel: Option<usize>,
    pub(super) expression: Option<String>,
    pub(super) cases: Option<BTreeMap<String, String>>,
    pub(super) lookup: Option<String>,
    pub(super) table: Option<BTreeMap<String, serde_json::Value>>,
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
    pub(super) window: Option<String>,
    pub(super) slide: Option<String>,
    pub(super) left: Option<String>,
    pub(super) right: Option<String>,
    pub(super) within: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) from: Option<From>,
    pub(super) subject: Option<String>,
}

/// One source or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum From {
    One(String),
    Several(Vec<String>),
}

impl From {
    pub(super) fn names(self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name],
            Self::Several(names) => names,
        }
    }
}
