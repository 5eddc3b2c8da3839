//! The index of units by type, tag, link, time and text, in memory.
//!
//! It is only a cache: it has no part in the state or its digest, is made from the state at the first query, and brought
//! up to date at each further one.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use tantivy::collector::DocSetCollector;
use tantivy::query::{AllQuery, BooleanQuery, Query, QueryParser, RangeQuery, TermQuery};
use tantivy::schema::{
    Field, INDEXED, IndexRecordOption, STORED, STRING, Schema, TEXT, Value as _,
};
use tantivy::{IndexReader, IndexWriter, ReloadPolicy, TantivyDocument, Term};

use crate::contract::{Body, Edge, Word};

/// The memory of the writer: the least that the library takes.
const MEMORY: usize = 15_000_000;

/// The index. A copy is empty, and made anew when it is asked.
#[derive(Default)]
pub(crate) struct Index(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    built: Option<Built>,
    touched: BTreeSet<Word>,
}

/// A unit as it is indexed.
pub(crate) struct Entry<'a> {
    pub(crate) unit: &'a Word,
    pub(crate) body: Body,
    pub(crate) links: &'a BTreeSet<Edge>,
    pub(crate) time: Timestamp,
}

/// The conditions of a query; each has to hold.
#[derive(Debug, Default)]
pub(crate) struct Conditions<'a> {
    pub(crate) kind: Option<&'a Word>,
    pub(crate) tags: Vec<&'a Word>,
    pub(crate) relation: Option<&'a Word>,
    pub(crate) links_to: Option<&'a Word>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) text: Option<&'a str>,
}

/// A query that could not be answered.
#[derive(Debug)]
pub(crate) enum IndexError {
    /// The text of the query.
    Text(String),
    /// The index.
    Broken(String),
}

impl From<tantivy::TantivyError> for IndexError {
    fn from(error: tantivy::TantivyError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl Clone for Index {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Index")
    }
}

impl Index {
    /// Notes that a unit changed.
    pub(crate) fn touch(&mut self, unit: &Word) {
        let inner = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if inner.built.is_some() {
            inner.touched.insert(unit.clone());
        }
    }

    /// Returns the units that meet the conditions. `entry` returns a unit, and `all` the names of all.
    pub(crate) fn find<'a>(
        &self,
        conditions: &Conditions<'_>,
        all: impl Iterator<Item = &'a Word>,
        entry: impl Fn(&Word) -> Option<Entry<'a>>,
    ) -> Result<Vec<Word>, IndexError> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { built, touched } = &mut *inner;
        if built.is_none() {
            let mut new = Built::new()?;
            new.take_in(all.filter_map(&entry))?;
            touched.clear();
            *built = Some(new);
        }
        let index = built.as_mut().expect("it was made above");
        if !touched.is_empty() {
            index.take_in(touched.iter().filter_map(&entry))?;
            touched.clear();
        }
        index.find(conditions)
    }
}

struct Built {
    index: tantivy::Index,
    writer: IndexWriter,
    reader: IndexReader,
    unit: Field,
    kind: Field,
    tag: Field,
    link: Field,
    time: Field,
    text: Field,
}

impl Built {
    fn new() -> tantivy::Result<Self> {
        let mut schema = Schema::builder();
        let unit = schema.add_text_field("unit", STRING | STORED);
        let kind = schema.add_text_field("type", STRING);
        let tag = schema.add_text_field("tag", STRING);
        let link = schema.add_text_field("link", STRING);
        let time = schema.add_i64_field("time", INDEXED);
        let text = schema.add_text_field("text", TEXT);
        let index = tantivy::Index::create_in_ram(schema.build());
        let writer = index.writer_with_num_threads(1, MEMORY)?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { index, writer, reader, unit, kind, tag, link, time, text })
    }

    fn take_in<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> tantivy::Result<()> {
        for entry in entries {
            self.writer.delete_term(Term::from_field_text(self.unit, entry.unit.as_str()));
            let mut document = TantivyDocument::new();
            document.add_text(self.unit, entry.unit.as_str());
            if let Some(kind) = &entry.body.kind {
                document.add_text(self.kind, kind.as_str());
            }
            for tag in &entry.body.tags {
                document.add_text(self.tag, tag.as_str());
            }
            for Edge { relation, unit } in entry.links {
                for key in
                    [format!("{relation} {unit}"), format!("{relation} "), format!(" {unit}")]
                {
                    document.add_text(self.link, key);
                }
            }
            document.add_i64(self.time, entry.time.as_microsecond());
            for value in entry.body.metadata.values() {
                texts(value, &mut |text| document.add_text(self.text, text));
            }
            self.writer.add_document(document)?;
        }
        self.writer.commit()?;
        self.reader.reload()
    }

    fn find(&self, conditions: &Conditions<'_>) -> Result<Vec<Word>, IndexError> {
        let mut all: Vec<Box<dyn Query>> = vec![Box::new(AllQuery)];
        let mut exact = |field: Field, text: &str| {
            let term = Term::from_field_text(field, text);
            all.push(Box::new(TermQuery::new(term, IndexRecordOption::Basic)));
        };
        if let Some(kind) = conditions.kind {
            exact(self.kind, kind.as_str());
        }
        for tag in &conditions.tags {
            exact(self.tag, tag.as_str());
        }
        if conditions.relation.is_some() || conditions.links_to.is_some() {
            let word = |word: Option<&Word>| word.map_or("", Word::as_str).to_owned();
            let key = format!("{} {}", word(conditions.relation), word(conditions.links_to));
            exact(self.link, &key);
        }
        if conditions.since.is_some() || conditions.until.is_some() {
            let term = |time: Timestamp| Term::from_field_i64(self.time, time.as_microsecond());
            let from = conditions
                .since
                .map_or(std::ops::Bound::Unbounded, |time| std::ops::Bound::Included(term(time)));
            let to = conditions
                .until
                .map_or(std::ops::Bound::Unbounded, |time| std::ops::Bound::Excluded(term(time)));
            all.push(Box::new(RangeQuery::new(from, to)));
        }
        if let Some(text) = conditions.text {
            let mut parser = QueryParser::for_index(&self.index, vec![self.text]);
            parser.set_conjunction_by_default();
            let parsed = parser.parse_query(text);
            all.push(parsed.map_err(|error| IndexError::Text(error.to_string()))?);
        }
        let searcher = self.reader.searcher();
        let found = searcher.search(&BooleanQuery::intersection(all), &DocSetCollector)?;
        let mut units = Vec::with_capacity(found.len());
        for address in found {
            let document: TantivyDocument = searcher.doc(address)?;
            let name = document.get_first(self.unit).and_then(|value| value.as_str());
            let name = name.and_then(|name| name.parse().ok());
            units.push(name.ok_or_else(|| IndexError::Broken("an entry has no name".into()))?);
        }
        Ok(units)
    }
}

/// Hands on every text in a value.
fn texts(value: &Value, take: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => take(text),
        Value::Array(values) => values.iter().for_each(|value| texts(value, take)),
        Value::Object(map) => map.values().for_each(|value| texts(value, take)),
        _ => {}
    }
}
