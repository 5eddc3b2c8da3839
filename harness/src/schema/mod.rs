//! The schemas of stored and published documents: their versions, what changes mean, and whether documents fit.
//!
//! Owns the reading of fixtures/schemas and the release that changes are compared with. Does not own the judgement of a
//! change (`cim_schema`), nor the types that schemas are derived from (the crates of the components, whose tests write
//! the files).

mod catalogue; // files, names and versions
mod check; // the last release against today
mod document; // the event catalogue, in Markdown
mod validate; // lines of NDJSON against their schemas

pub(crate) use catalogue::{Catalogue, Name};
pub(crate) use check::check;
pub(crate) use document::markdown;
pub(crate) use validate::{Line, Validated, validate};
