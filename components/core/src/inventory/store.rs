//! Streams and buckets to create. An absent setting means JetStream's default.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ComponentName;
use super::number::{Count, History, MessageSize};
use crate::names::{Span, SubjectFilter};

/// A JetStream stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stream {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Subjects that it stores. No two streams may store one subject.
    pub subjects: Vec<SubjectFilter>,
    /// Where messages are kept.
    #[serde(default)]
    pub storage: Storage,
    /// When messages go.
    #[serde(default)]
    pub retention: Retention,
    /// Which messages go when a limit is reached.
    #[serde(default)]
    pub discard: Discard,
    /// The most bytes; without it as many as fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Count>,
    /// The most messages; without it as many as there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_messages: Option<Count>,
    /// The oldest that a message gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// The most bytes of one message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_message_size: Option<MessageSize>,
    /// How long a `Nats-Msg-Id` is remembered.
    #[serde(default = "two_minutes")]
    pub duplicate_window: Span,
}

/// A KV or object-store bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bucket {
    /// Which of the two.
    #[serde(default)]
    pub kind: BucketKind,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where it is kept.
    #[serde(default)]
    pub storage: Storage,
    /// How many values of a key are kept; KV alone.
    #[serde(default = "one")]
    pub history: History,
    /// The oldest that a value gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// The most bytes; without it as many as fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Count>,
    /// Components that may use it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<ComponentName>,
}

fn two_minutes() -> Span {
    Span::new("2m").expect("it is a span of time")
}

fn one() -> History {
    History::new(1).expect("one is enough")
}

/// Declares an enum of plain words with the word of each.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Returns its word in JSON.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(super) use words;

words! {
    /// Where JetStream keeps something.
    #[derive(Default)]
    Storage {
        /// On disk.
        #[default]
        File = "file",
        /// In memory: gone with the process.
        Memory = "memory",
    }
}

words! {
    /// When a stream's messages go.
    #[derive(Default)]
    Retention {
        /// When a limit is reached.
        #[default]
        Limits = "limits",
        /// When every consumer has acked them.
        Interest = "interest",
        /// When one consumer has acked them.
        WorkQueue = "workqueue",
    }
}

words! {
    /// What a full stream does with a message more.
    #[derive(Default)]
    Discard {
        /// It drops its oldest ones.
        #[default]
        Old = "old",
        /// It refuses the new one.
        New = "new",
    }
}

words! {
    /// The two kinds of buckets.
    #[derive(Default)]
    BucketKind {
        /// Keys and values.
        #[default]
        Kv = "kv",
        /// Objects of any size, in chunks.
        Object = "object",
    }
}

impl BucketKind {
    /// Returns the prefix of the bucket's stream, before the bucket's own name.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Kv => "KV_",
            Self::Object => "OBJ_",
        }
    }
}
