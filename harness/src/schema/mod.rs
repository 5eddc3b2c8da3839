//! The schemas of stored and published documents: their versions, what changes mean, and whether documents fit.
//!
//! Owns the reading of fixtures/schemas and the release that changes are compared with. Does not own the judgement of a
//! change (`cim_schema`), nor the types that schemas are derived from (the crates of the components, whose tests write
//! the files).

mod catalogue; // files, names and versions
mod check; // the last release against today
mod document; // the catalogue of documents, as data
mod html; // the catalogue as a page
mod markdown; // the catalogue as docs/events.md
mod validate; // lines of NDJSON against their schemas

pub(crate) use catalogue::{Catalogue, Name};
pub(crate) use check::check;
pub(crate) use html::page;
pub(crate) use markdown::markdown;
pub(crate) use validate::{Line, Validated, validate};
