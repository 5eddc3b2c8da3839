//! The server's side of the protocol (docs.nats.io/reference/reference-protocols/nats-protocol).

use std::str;

/// One protocol operation, borrowed from the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op<'a> {
    /// `INFO {…}`
    Info(&'a [u8]),
    /// `MSG` or `HMSG`
    Msg {
        /// Subject.
        subject: &'a [u8],
        /// The subscription that it is for.
        sid: &'a [u8],
        /// Reply subject; empty for none.
        reply: &'a [u8],
        /// Raw header block; empty for none.
        headers: &'a [u8],
        /// Payload.
        payload: &'a [u8],
    },
    /// `PING`
    Ping,
    /// `PONG`
    Pong,
    /// `+OK`
    Ok,
    /// `-ERR '…'`
    Err(&'a [u8]),
}

/// Bytes that are not the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server sent what is not the NATS protocol: {0}")]
pub struct ParseError(&'static str);

/// The longest control line that is waited for: `INFO` of a big cluster stays far below.
const MAX_LINE: usize = 1 << 20;

/// Returns the first operation in `buffer` and its length; `None` if it is incomplete.
pub fn parse(buffer: &[u8]) -> Result<Option<(Op<'_>, usize)>, ParseError> {
    let Some(end) = line_end(buffer) else {
        return if buffer.len() > MAX_LINE {
            Err(ParseError("a line without end"))
        } else {
            Ok(None)
        };
    };
    let (line, after) = (&buffer[..end], end + 2);
    let (verb, rest) = match line.iter().position(|b| *b == b' ' || *b == b'\t') {
        Some(at) => (&line[..at], line[at + 1..].trim_ascii()),
        None => (line, &line[line.len()..]),
    };
    let op = match verb {
        b"MSG" => return message(buffer, rest, after, false),
        b"HMSG" => return message(buffer, rest, after, true),
        b"PING" => Op::Ping,
        b"PONG" => Op::Pong,
        b"INFO" => Op::Info(rest),
        b"+OK" => Op::Ok,
        b"-ERR" => Op::Err(rest),
        _ => return Err(ParseError("an unknown operation")),
    };
    Ok(Some((op, after)))
}

fn line_end(buffer: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = buffer[from..].iter().position(|b| *b == b'\r') {
        let at = from + at;
        match buffer.get(at + 1) {
            Some(b'\n') => return Some(at),
            Some(_) => from = at + 1,
            None => return None,
        }
    }
    None
}

fn message<'a>(
    buffer: &'a [u8],
    arguments: &'a [u8],
    start: usize,
    with_headers: bool,
) -> Result<Option<(Op<'a>, usize)>, ParseError> {
    let mut fields = [&arguments[..0]; 5];
    let mut count = 0;
    for field in arguments.split(|b| *b == b' ' || *b == b'\t').filter(|f| !f.is_empty()) {
        *fields.get_mut(count).ok_or(ParseError("too many arguments"))? = field;
        count += 1;
    }
    // subject sid [reply] [header size] size
    let sizes = if with_headers { 2 } else { 1 };
    let reply = match count.checked_sub(sizes) {
        Some(2) => &arguments[..0],
        Some(3) => fields[2],
        _ => return Err(ParseError("a message with the wrong number of arguments")),
    };
    let total = number(fields[count - 1])?;
    let header = if with_headers { number(fields[count - 2])? } else { 0 };
    if header > total {
        return Err(ParseError("headers longer than their message"));
    }
    let end = start.checked_add(total).and_then(|end| end.checked_add(2));
    let end = end.ok_or(ParseError("a message longer than memory"))?;
    if buffer.len() < end {
        return Ok(None);
    }
    if &buffer[end - 2..end] != b"\r\n" {
        return Err(ParseError("a message that does not end where it says"));
    }
    let (headers, payload) = buffer[start..end - 2].split_at(header);
    Ok(Some((Op::Msg { subject: fields[0], sid: fields[1], reply, headers, payload }, end)))
}

fn number(digits: &[u8]) -> Result<usize, ParseError> {
    let text = str::from_utf8(digits).map_err(|_| ParseError("a size that is no number"))?;
    text.parse().map_err(|_| ParseError("a size that is no number"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(subject: &str, reply: Option<&str>, headers: &[u8], payload: &[u8]) -> Vec<u8> {
        let reply = reply.map(|r| format!("{r} ")).unwrap_or_default();
        let total = headers.len() + payload.len();
        let line = if headers.is_empty() {
            format!("MSG {subject} 1 {reply}{total}\r\n")
        } else {
            format!("HMSG {subject} 1 {reply}{} {total}\r\n", headers.len())
        };
        [line.as_bytes(), headers, payload, b"\r\n"].concat()
    }

    proptest! {
        #[test]
        fn messages_are_read_back_and_never_early(
            subject in "[a-z.$]{1,20}",
            reply in prop::option::of("[a-z.$]{1,20}"),
            headers in prop::collection::vec(any::<u8>(), 0..30),
            payload in prop::collection::vec(any::<u8>(), 0..60),
            rest in prop::collection::vec(any::<u8>(), 0..10),
        ) {
            let message = encode(&subject, reply.as_deref(), &headers, &payload);
            for cut in 0..message.len() {
                prop_assert_eq!(parse(&message[..cut]), Ok(None));
            }
            let buffer = [&message[..], &rest].concat();
            let reply = reply.unwrap_or_default();
            let op = Op::Msg { subject: subject.as_bytes(), sid: b"1", reply: reply.as_bytes(), headers: &headers, payload: &payload };
            prop_assert_eq!(parse(&buffer), Ok(Some((op, message.len()))));
        }

        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), verb in "(MSG |HMSG |INFO |-ERR |PING|)") {
            drop(parse(&bytes));
            drop(parse(&[verb.as_bytes(), &bytes, b"\r\n"].concat()));
        }
    }

    #[test]
    fn control_lines() {
        assert_eq!(parse(b"PING\r\nPONG\r\n"), Ok(Some((Op::Ping, 6))));
        assert_eq!(parse(b"-ERR 'no'\r\n"), Ok(Some((Op::Err(b"'no'"), 11))));
        assert_eq!(parse(b"INFO {}\r\n"), Ok(Some((Op::Info(b"{}"), 9))));
        assert!(parse(b"HTTP/1.1 400 Bad Request\r\n").is_err());
        assert!(parse(b"MSG a 1 18446744073709551615\r\nx").is_err());
    }
}
