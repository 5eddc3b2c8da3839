//! Times: of events, of windows, and the watermark.

use jaq_json::Val;
use jiff::Timestamp;

use crate::value;

/// Returns milliseconds since 1970 of RFC 3339, or of seconds.
pub(super) fn milliseconds(time: &Val) -> Result<i64, String> {
    if let Some(text) = value::as_text(time) {
        let read: Result<Timestamp, _> = text.parse();
        return read
            .map(Timestamp::as_millisecond)
            .map_err(|_| format!("`{text}` is no time as RFC 3339 writes it"));
    }
    let seconds = match time {
        Val::Num(number) => number.to_string().parse::<f64>().ok(),
        _ => None,
    };
    let seconds = seconds.filter(|seconds| seconds.abs() < 2.0e11);
    #[expect(clippy::cast_possible_truncation, reason = "its size was checked")]
    seconds
        .map(|seconds| (seconds * 1000.0).round() as i64)
        .ok_or_else(|| "the time is neither RFC 3339 nor seconds".into())
}

/// Returns a time as RFC 3339.
pub(super) fn rfc3339(time: i64) -> String {
    Timestamp::from_millisecond(time).map_or_else(|_| time.to_string(), |time| time.to_string())
}

/// Returns the starts of all windows that a time is in, the oldest first.
pub(super) fn windows(time: i64, window: i64, slide: i64) -> impl Iterator<Item = i64> {
    let newest = time.div_euclid(slide) * slide;
    (0..window / slide).rev().map(move |back| newest - back * slide)
}
