//! Refusals: the one shape of every error that a component answers.

use std::fmt;

use async_nats::{HeaderMap, HeaderValue};

/// The header with the word for programs, beside NATS's own two.
pub const CODE_HEADER: &str = "Cim-Error-Code";
/// The header with the problem.
pub const WHAT_HEADER: &str = "Cim-Error-What";
/// The header with the way out.
pub const WAY_OUT_HEADER: &str = "Cim-Error-Way-Out";

/// The class of a refusal: its word, and the number in NATS's header, which is HTTP's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The word for programs: lowercase with `_`.
    pub word: &'static str,
    /// The number: 4xx is the caller's to mend, 5xx the component's.
    pub number: u16,
}

impl Code {
    /// The request is not of its schema.
    pub const INVALID: Self = Self { word: "invalid_request", number: 400 };
    /// The command's id has been used for another command.
    pub const REUSED: Self = Self { word: "command_id_reused", number: 409 };
    /// Nothing was decided; sending the same command again is right.
    pub const UNAVAILABLE: Self = Self { word: "unavailable", number: 503 };
}

/// A request that was not followed: the class, the problem, the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The class.
    pub code: Code,
    /// The problem, with the thing in backticks; one line.
    pub what: String,
    /// The way out; one line.
    pub way_out: String,
}

impl Refusal {
    /// Returns a refusal.
    pub fn new(code: Code, what: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { code, what: what.into(), way_out: way_out.into() }
    }

    /// Returns the refusal as NATS's micro-services send it, in headers: `Nats-Service-Error` and
    /// `Nats-Service-Error-Code` for every client, and the three parts for ours. The body is empty.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CODE_HEADER, self.code.word);
        headers.insert(WHAT_HEADER, one_line(&self.what));
        headers.insert(WAY_OUT_HEADER, one_line(&self.way_out));
        headers
    }

    pub(super) fn micro(&self) -> async_nats::service::error::Error {
        let status = one_line(&self.to_string()).as_str().to_owned();
        async_nats::service::error::Error { code: self.code.number.into(), status }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.way_out)
    }
}

impl std::error::Error for Refusal {}

/// Returns a text that fits into a header.
fn one_line(text: &str) -> HeaderValue {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    HeaderValue::from(text.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line_of_headers_whatever_is_in_it() {
        let refusal = Refusal::new(Code::INVALID, "`a\r\nb` is bad", "send `c`");
        let headers = refusal.headers();
        assert_eq!(headers.get(CODE_HEADER).unwrap().as_str(), "invalid_request");
        assert_eq!(headers.get(WHAT_HEADER).unwrap().as_str(), "`a  b` is bad");
        assert_eq!(refusal.micro().status, "`a  b` is bad: send `c`");
        assert_eq!(refusal.micro().code, 400);
    }
}
