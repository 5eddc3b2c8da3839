//! Comma-separated values.

use std::borrow::Cow;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ndjson::grouped;
use super::{Place, Sink};
use crate::segment::Message;

/// `headers` is a JSON object, `base64` names the columns of the row that are Base64, with spaces between.
const COLUMNS: [&str; 6] = ["seq", "time", "subject", "headers", "payload", "base64"];

pub(super) struct Csv<P: Place> {
    writer: csv::Writer<P>,
}

impl<P: Place> Csv<P> {
    pub(super) fn new(place: P) -> io::Result<Self> {
        let mut writer = csv::Writer::from_writer(place);
        writer.write_record(COLUMNS)?;
        Ok(Self { writer })
    }
}

fn text<'a>(name: &'static str, bytes: &'a [u8], base64: &mut Vec<&'static str>) -> Cow<'a, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => encoded(name, bytes, base64),
    }
}

fn encoded<'a>(name: &'static str, bytes: &[u8], base64: &mut Vec<&'static str>) -> Cow<'a, str> {
    base64.push(name);
    Cow::Owned(STANDARD.encode(bytes))
}

impl<P: Place> Sink for Csv<P> {
    fn push(&mut self, message: &Message<'_>) -> io::Result<()> {
        let mut base64 = Vec::new();
        let subject = text("subject", message.subject, &mut base64);
        let headers = match grouped(message.headers) {
            Some(headers) => Cow::Owned(serde_json::to_string(&headers)?),
            None if message.headers.is_empty() => Cow::Borrowed(""),
            None => encoded("headers", message.headers, &mut base64),
        };
        let payload = text("payload", message.payload, &mut base64);
        let (seq, time) = (message.seq.to_string(), message.timestamp().to_string());
        let row = [&seq, &time, &*subject, &*headers, &*payload, &*base64.join(" ")];
        Ok(self.writer.write_record(row)?)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.writer.into_inner().map_err(csv::IntoInnerError::into_error)?.named()
    }
}
