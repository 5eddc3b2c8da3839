//! CIM's subjects: events, services and commands of each component.
//!
//! | Kind | Subject |
//! |---|---|
//! | event | `cim.event.<component>.<resource>.<action>` |
//! | service, request and reply | `cim.service.<component>.<resource>.<operation>` |
//! | command, for administration | `cim.cmd.<component>.<operation>` |
//!
//! The events and services of each component are data, in [`vocabulary`]. Parsing does not consult it: the
//! caller decides about a subject of the right form that the vocabulary does not have, with
//! [`Component::emits`] for events.

use std::fmt;
use std::str::FromStr;

use crate::names::{EventType, NameError, Subject, SubjectFilter, Token, shown};

mod component;
pub mod vocabulary;

pub use component::{Component, UnknownComponent};

/// A subject of CIM, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CimSubject {
    /// Something happened: `cim.event.<component>.<resource>.<action>`.
    Event {
        /// The component that it happened to.
        component: Component,
        /// The event's type.
        event: EventType,
    },
    /// Something is asked of a component: `cim.service.<component>.<resource>.<operation>`.
    Service {
        /// The component that is asked.
        component: Component,
        /// The resource.
        resource: Token,
        /// The operation.
        operation: Token,
    },
    /// An operator administers a component: `cim.cmd.<component>.<operation>`.
    Command {
        /// The component that the command is for.
        component: Component,
        /// The operation.
        operation: Token,
    },
}

/// The three kinds of [`CimSubject`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    /// `cim.event`
    Event,
    /// `cim.service`
    Service,
    /// `cim.cmd`
    Command,
}

/// A subject that is not one of CIM's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// The subject begins with none of the three prefixes.
    #[error(
        "subject `{0}` is not CIM's: it begins with none of `cim.event.`, `cim.service.`, `cim.cmd.`"
    )]
    Prefix(String),
    /// The subject has too few or too many tokens for its kind.
    #[error("subject `{subject}` is not of the form `{form}`")]
    Form {
        /// The subject, cut for printing.
        subject: String,
        /// The form of its kind.
        form: &'static str,
    },
    /// The component is none of the seven.
    #[error("subject `{subject}` names no component of CIM")]
    Component {
        /// The subject, cut for printing.
        subject: String,
        /// The token that is no component.
        source: UnknownComponent,
    },
    /// One of the last tokens is not spelled as CIM spells them.
    #[error("subject `{subject}` has a token that CIM does not allow")]
    Token {
        /// The subject, cut for printing.
        subject: String,
        /// The token, and the rule.
        source: NameError,
    },
}

impl SubjectKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Event, Self::Service, Self::Command];

    /// Returns the two tokens that subjects of this kind begin with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Event => "cim.event",
            Self::Service => "cim.service",
            Self::Command => "cim.cmd",
        }
    }

    /// Returns the form of this kind's subjects, for people.
    pub const fn form(self) -> &'static str {
        match self {
            Self::Event => "cim.event.<component>.<resource>.<action>",
            Self::Service => "cim.service.<component>.<resource>.<operation>",
            Self::Command => "cim.cmd.<component>.<operation>",
        }
    }

    /// Returns the filter for all subjects of this kind: `cim.event.>`.
    pub fn filter(self) -> SubjectFilter {
        filter(&format!("{}.>", self.prefix()))
    }

    /// Returns the filter for this kind's subjects of one component: `cim.event.storage.>`.
    pub fn filter_of(self, component: Component) -> SubjectFilter {
        filter(&format!("{}.{component}.>", self.prefix()))
    }
}

impl CimSubject {
    /// Returns the subject of a component's event.
    pub fn event(component: Component, event: EventType) -> Self {
        Self::Event { component, event }
    }

    /// Returns the subject of a component's service.
    pub fn service(component: Component, resource: Token, operation: Token) -> Self {
        Self::Service { component, resource, operation }
    }

    /// Returns the subject of a component's command.
    pub fn command(component: Component, operation: Token) -> Self {
        Self::Command { component, operation }
    }

    /// Returns the subject's kind.
    pub fn kind(&self) -> SubjectKind {
        match self {
            Self::Event { .. } => SubjectKind::Event,
            Self::Service { .. } => SubjectKind::Service,
            Self::Command { .. } => SubjectKind::Command,
        }
    }

    /// Returns the subject's component.
    pub fn component(&self) -> Component {
        match self {
            Self::Event { component, .. }
            | Self::Service { component, .. }
            | Self::Command { component, .. } => *component,
        }
    }

    /// Returns the subject to publish on.
    #[expect(clippy::missing_panics_doc, reason = "tokens make a valid subject, whatever they are")]
    pub fn to_subject(&self) -> Subject {
        Subject::new(self.to_string()).expect("tokens make a valid subject")
    }
}

impl fmt::Display for CimSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.", self.kind().prefix(), self.component())?;
        match self {
            Self::Event { event, .. } => write!(f, "{event}"),
            Self::Service { resource, operation, .. } => write!(f, "{resource}.{operation}"),
            Self::Command { operation, .. } => write!(f, "{operation}"),
        }
    }
}

impl FromStr for CimSubject {
    type Err = SubjectError;

    fn from_str(subject: &str) -> Result<Self, Self::Err> {
        let (kind, rest) = SubjectKind::ALL
            .into_iter()
            .find_map(|kind| {
                let rest = subject.strip_prefix(kind.prefix())?.strip_prefix('.')?;
                Some((kind, rest))
            })
            .ok_or_else(|| SubjectError::Prefix(shown(subject)))?;

        let component = |token: &str| {
            token
                .parse()
                .map_err(|source| SubjectError::Component { subject: shown(subject), source })
        };
        let invalid = |source| SubjectError::Token { subject: shown(subject), source };
        let tokens: Vec<&str> = rest.split('.').collect();
        match (kind, tokens.as_slice()) {
            (SubjectKind::Event, &[of, resource, action]) => {
                let (resource, action) =
                    (Token::new(resource).map_err(invalid)?, Token::new(action).map_err(invalid)?);
                Ok(Self::event(component(of)?, EventType::of(&resource, &action)))
            }
            (SubjectKind::Service, &[of, resource, operation]) => Ok(Self::service(
                component(of)?,
                Token::new(resource).map_err(invalid)?,
                Token::new(operation).map_err(invalid)?,
            )),
            (SubjectKind::Command, &[of, operation]) => {
                Ok(Self::command(component(of)?, Token::new(operation).map_err(invalid)?))
            }
            _ => Err(SubjectError::Form { subject: shown(subject), form: kind.form() }),
        }
    }
}

impl TryFrom<&Subject> for CimSubject {
    type Error = SubjectError;

    fn try_from(subject: &Subject) -> Result<Self, Self::Error> {
        subject.as_str().parse()
    }
}

impl From<&CimSubject> for Subject {
    fn from(subject: &CimSubject) -> Self {
        subject.to_subject()
    }
}

fn filter(text: &str) -> SubjectFilter {
    SubjectFilter::new(text).expect("tokens make a valid filter")
}
