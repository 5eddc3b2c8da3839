//! What a server says of a request besides messages.

use std::collections::VecDeque;
use std::str;
use std::time::Duration;

use tokio::time::Instant;

/// Why a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// It had all that it had room for.
    Full,
    /// The next message is larger than all that it had room for.
    TooSmall,
    /// There were no more messages.
    Drained,
}

/// A request that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestEnd {
    /// Why.
    pub why: EndReason,
    /// The time for which it was the first of those that were open.
    pub lasted: Duration,
}

/// A request that is open.
#[derive(Debug)]
pub(super) struct Request {
    pub id: u64,
    /// Messages that it still has room for.
    pub room: u64,
    /// Bytes that it still has room for, as the server counts them; `None` for any number.
    pub bytes: Option<usize>,
    /// Messages that it had.
    pub had: u64,
    /// When it was made, or the one before it ended.
    pub since: Instant,
}

/// Ends the request at this place; the next one is the first from now on.
pub(super) fn end(
    requests: &mut VecDeque<Request>,
    at: usize,
    why: EndReason,
) -> Option<RequestEnd> {
    let request = requests.remove(at)?;
    let now = Instant::now();
    if at == 0
        && let Some(next) = requests.front_mut()
    {
        next.since = now;
    }
    Some(RequestEnd { why, lasted: now - request.since })
}

/// Reads a status: 404 and 408 are a request's ordinary end, 409 may be. `Err` ends the consumer.
pub(super) fn status(
    suffix: &[u8],
    headers: &[u8],
    requests: &mut VecDeque<Request>,
) -> Result<Option<RequestEnd>, String> {
    let line = headers.split(|b| *b == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let status = line.strip_prefix("NATS/1.0").unwrap_or_default().trim();
    let id: Option<u64> =
        str::from_utf8(suffix).ok().and_then(|s| s.trim_start_matches('.').parse().ok());
    let (code, text) = status.split_once(' ').unwrap_or((status, ""));
    let lower = text.to_ascii_lowercase();
    let why = match code {
        "100" => return Ok(None),
        "404" | "408" => EndReason::Drained,
        "409" if lower.contains("maxbytes") => EndReason::TooSmall,
        // All of its messages came, and they were smaller than it had room for.
        "409" if lower == "batch completed" => EndReason::Full,
        _ => return Err(status.into()),
    };
    let Some(at) = requests.iter().position(|request| Some(request.id) == id) else {
        return Ok(None);
    };
    let why =
        if why == EndReason::TooSmall && requests[at].had > 0 { EndReason::Full } else { why };
    Ok(end(requests, at, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str, request: &str, had: u64) -> Result<(usize, Option<EndReason>), String> {
        let since = Instant::now();
        let mut requests: VecDeque<_> =
            [7, 8].map(|id| Request { id, room: 1, bytes: None, had, since }).into_iter().collect();
        let headers = format!("NATS/1.0 {line}\r\nNats-Pending-Messages: 0\r\n\r\n");
        let ended = status(request.as_bytes(), headers.as_bytes(), &mut requests)?;
        Ok((requests.len(), ended.map(|end| end.why)))
    }

    #[test]
    fn what_ends_a_request_does_not_end_reading() {
        for (line, why) in [
            ("404 No Messages", EndReason::Drained),
            ("408 Request Timeout", EndReason::Drained),
            ("409 Batch Completed", EndReason::Full),
        ] {
            assert_eq!(told(line, ".7", 0), Ok((1, Some(why))), "{line}");
            // It had all of its messages, so it is not waited for any more.
            assert_eq!(told(line, ".6", 0), Ok((2, None)), "{line}");
        }
        let large = "409 Message Size Exceeds MaxBytes";
        assert_eq!(told(large, ".8", 0), Ok((1, Some(EndReason::TooSmall))));
        assert_eq!(told(large, ".8", 3), Ok((1, Some(EndReason::Full))));
        assert_eq!(told("100 Idle Heartbeat", ".7", 0), Ok((2, None)));
    }

    #[test]
    fn what_ends_the_consumer_does() {
        for line in [
            "409 Leadership Change",
            "409 Server Shutdown",
            "409 Consumer Deleted",
            "409 Exceeded MaxWaiting",
            "503",
        ] {
            assert_eq!(told(line, ".7", 0), Err(line.to_owned()));
        }
    }
}
