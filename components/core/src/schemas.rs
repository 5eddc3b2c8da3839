//! The JSON Schemas of every type that is stored or sent.
//!
//! `fixtures/schemas/<type>/v<version>.json` holds each schema that was ever in use, with sample
//! documents beside it. A type's stored form changes in one of two ways: compatibly, as its unknown-field
//! policy allows, or not; **either way the version is bumped**, the new schema is a new file, and
//! the old files stay, because documents of old versions stay too and must be readable for ever.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;

use crate::archive::journal::{JOURNAL_FORMAT, JournalCheckpoint, JournalEntry};
use crate::archive::{Entry, FORMAT};
use crate::envelope::Envelope;
use crate::inventory::{self, Inventory};

/// A type that is stored or sent, under a name and a version.
///
/// To add one: implement this, name the type in [`schemas`], and accept its files as the failing
/// test says.
pub trait WireType: JsonSchema + DeserializeOwned {
    /// The type's name in the fixtures: lowercase, with hyphens.
    const TYPE_NAME: &'static str;
    /// The first version: 1, but where a type counts on from another one's.
    const FIRST: u32 = 1;
    /// The version that this code writes; it is bumped with every change of the schema.
    const VERSION: u32;
}

impl WireType for Envelope {
    const TYPE_NAME: &'static str = "event-envelope";
    const VERSION: u32 = 1;
}

impl WireType for Entry {
    const TYPE_NAME: &'static str = "archive-entry";
    const VERSION: u32 = FORMAT;
}

/// The earlier formats are those of [`Entry`].
impl WireType for JournalEntry {
    const TYPE_NAME: &'static str = "journal-entry";
    const FIRST: u32 = 4;
    const VERSION: u32 = JOURNAL_FORMAT;
}

impl WireType for JournalCheckpoint {
    const TYPE_NAME: &'static str = "journal-checkpoint";
    const FIRST: u32 = 4;
    const VERSION: u32 = JOURNAL_FORMAT;
}

impl WireType for Inventory {
    const TYPE_NAME: &'static str = "inventory";
    const VERSION: u32 = inventory::VERSION;
}

/// The current schema of one type.
#[derive(Debug, Clone)]
pub struct SchemaDoc {
    /// [`WireType::TYPE_NAME`].
    pub type_name: &'static str,
    /// [`WireType::FIRST`].
    pub first: u32,
    /// [`WireType::VERSION`].
    pub version: u32,
    /// The schema of a document, in draft 2020-12. A reader may have rules that a schema cannot express,
    /// and may be more lenient with the spelling of times.
    pub schema: serde_json::Value,
    read: fn(&str) -> serde_json::Result<()>,
}

/// Returns the current schema of every type that is stored or sent.
pub fn schemas() -> Vec<SchemaDoc> {
    vec![
        SchemaDoc::of::<Envelope>(),
        SchemaDoc::of::<Entry>(),
        SchemaDoc::of::<JournalEntry>(),
        SchemaDoc::of::<JournalCheckpoint>(),
        SchemaDoc::of::<Inventory>(),
    ]
}

impl SchemaDoc {
    /// Returns the current schema of `T`.
    pub fn of<T: WireType>() -> Self {
        let (type_name, version) = (T::TYPE_NAME, T::VERSION);
        let mut schema =
            SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
        schema.insert("$id".to_owned(), format!("urn:cim:schema:{type_name}:v{version}").into());
        Self {
            type_name,
            first: T::FIRST,
            version,
            schema: schema.into(),
            read: |document| serde_json::from_str::<T>(document).map(drop),
        }
    }

    /// Reads a document with the type itself.
    ///
    /// # Errors
    /// When the document is not one that the current reader accepts.
    pub fn check(&self, document: &str) -> serde_json::Result<()> {
        (self.read)(document)
    }
}
