//! Which streams: globs of names.

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// `[streams]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamsConfig {
    /// Globs of stream names.
    #[serde(deserialize_with = "included")]
    pub include: Vec<String>,
    /// Globs of stream names that are left out all the same.
    #[serde(deserialize_with = "globs")]
    pub exclude: Vec<String>,
}

impl Default for StreamsConfig {
    fn default() -> Self {
        Self { include: vec!["*".into()], exclude: Vec::new() }
    }
}

/// The streams whose names the globs match.
#[derive(Debug, Clone)]
pub struct StreamMatcher {
    include: GlobSet,
    exclude: GlobSet,
}

impl StreamMatcher {
    /// Returns true if a stream is to be tiered.
    pub fn matches(&self, name: &str) -> bool {
        self.include.is_match(name) && !self.exclude.is_match(name)
    }
}

impl StreamsConfig {
    /// Compiles the globs.
    pub fn matcher(&self) -> Result<StreamMatcher, globset::Error> {
        let set = |globs: &[String]| {
            let mut builder = GlobSetBuilder::new();
            for glob in globs {
                builder.add(Glob::new(glob)?);
            }
            builder.build()
        };
        Ok(StreamMatcher { include: set(&self.include)?, exclude: set(&self.exclude)? })
    }

    /// Returns the globs that match none of these names, of which there are some: mistyped ones, as a rule.
    pub fn unmatched(&self, names: &[String]) -> Vec<&str> {
        let all = self.include.iter().chain(&self.exclude).map(String::as_str);
        let matches = |glob: &&str| {
            let matcher = Glob::new(glob).map(|glob| glob.compile_matcher());
            matcher.is_ok_and(|matcher| names.iter().any(|name| matcher.is_match(name)))
        };
        all.filter(|glob| !names.is_empty() && !matches(glob)).collect()
    }
}

fn included<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let globs = globs(deserializer)?;
    if globs.is_empty() {
        let why = "`include` is empty, so that no stream would be archived: leave it out for all";
        return Err(D::Error::custom(why));
    }
    Ok(globs)
}

pub(super) fn globs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let globs = Vec::<String>::deserialize(deserializer)?;
    for glob in &globs {
        Glob::new(glob).map_err(|error| {
            let why = error.kind();
            D::Error::custom(format!(
                "glob `{glob}` cannot be read: {why}; write it like `ORDERS_*`"
            ))
        })?;
    }
    Ok(globs)
}
