//! A definition that was checked: expressions compiled, durations read, sources resolved.

use std::collections::BTreeMap;

use jaq_json::Val;

use crate::expression::Expression;

/// The language of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TOML.
    Toml,
    /// JSON.
    Json,
}

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Any value.
    Any,
    /// null
    Null,
    /// true or false
    Boolean,
    /// A number.
    Number,
    /// A text.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl Shape {
    /// The names, as definitions write them.
    pub const ALL: [(&'static str, Self); 7] = [
        ("any", Self::Any),
        ("null", Self::Null),
        ("boolean", Self::Boolean),
        ("number", Self::Number),
        ("string", Self::String),
        ("array", Self::Array),
        ("object", Self::Object),
    ];

    /// Returns the name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, shape)| *shape == self).expect("every shape is in the list").0
    }

    /// Returns the shape of a value.
    pub fn of(value: &Val) -> Self {
        match value {
            Val::Null => Self::Null,
            Val::Bool(_) => Self::Boolean,
            Val::Num(_) => Self::Number,
            Val::TStr(_) | Val::BStr(_) => Self::String,
            Val::Arr(_) => Self::Array,
            Val::Obj(_) => Self::Object,
        }
    }

    /// Reports whether values of another shape are all of this one.
    pub fn takes(self, other: Self) -> bool {
        self == Self::Any || self == other
    }
}

/// A source of a stage: the input (`None`) or one of another stage's ways out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The index of the stage; `None` for the input.
    pub stage: Option<usize>,
    /// The way out of it: 0, or one of a branch's cases, or of late events.
    pub way: usize,
}

/// The events that go in.
#[derive(Debug)]
pub struct Input {
    /// The stream, where events come from NATS.
    pub stream: Option<String>,
    /// The subject filter.
    pub subject: Option<String>,
    /// The event's id, by default that of its message or the number of its line.
    pub id: Option<Expression>,
    /// The time at which it happened: RFC 3339 or seconds since 1970.
    pub time: Option<Expression>,
    /// The key in whose order events stay.
    pub key: Option<Expression>,
    /// The milliseconds by which an event may be older than the newest one before it.
    pub lateness: i64,
    /// The form of events.
    pub gives: Shape,
}

/// The work of a stage.
#[derive(Debug)]
pub enum Step {
    /// Each output of the expression goes on.
    Map(Expression),
    /// The event goes on when the expression holds.
    Filter(Expression),
    /// The event goes the way of the first case that holds, or the last way, `else`.
    Branch(Vec<Expression>),
    /// `$entry` is the table's entry, or null.
    Enrich {
        /// The key in the table.
        lookup: Expression,
        /// The table.
        table: BTreeMap<String, Val>,
        /// The event that goes on.
        expression: Expression,
    },
    /// The events of a window and a key become one. Late ones leave by way 1.
    Aggregate {
        /// The key; by default the event's.
        key: Option<Expression>,
        /// The part of each event that is kept.
        value: Option<Expression>,
        /// The window's length in milliseconds.
        window: i64,
        /// The milliseconds between the starts of two windows.
        slide: i64,
        /// The event of a window, of `{key, start, end, values}`.
        expression: Expression,
    },
    /// Two events of the same key that are near in time become one. Late ones leave by way 1.
    Join {
        /// The key of an event from the first source.
        left: Expression,
        /// The key of an event from the second source.
        right: Expression,
        /// The milliseconds that may lie between the two.
        within: i64,
        /// The event of a pair, of `{left, right}`.
        expression: Expression,
    },
}

/// A stage.
#[derive(Debug)]
pub struct Stage {
    /// The name.
    pub name: String,
    /// The sources.
    pub from: Vec<Port>,
    /// The form of values that it takes.
    pub takes: Shape,
    /// The form of values that it gives.
    pub gives: Shape,
    /// The threads that work on a batch.
    pub parallel: usize,
    /// The work.
    pub step: Step,
}

/// A way out of the pipeline.
#[derive(Debug)]
pub struct Output {
    /// The name.
    pub name: String,
    /// The sources.
    pub from: Vec<Port>,
    /// The subject, where events go to NATS.
    pub subject: Option<String>,
}

/// A pipeline that can run.
#[derive(Debug)]
pub struct Definition {
    /// The name.
    pub pipeline: String,
    /// The input.
    pub input: Input,
    /// The stages, sources before those that they feed.
    pub stages: Vec<Stage>,
    /// The outputs.
    pub outputs: Vec<Output>,
}
