//! Numbers of JSON, compared exactly.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// Beyond it every double is an integer, and fits an `i128` up to 2^127.
const LIMIT: f64 = 1.0e38;

/// Compares two numbers by their values: `1` and `1.0` are equal, and integers beyond 2^53 keep their difference.
pub(crate) fn compare(a: &Number, b: &Number) -> Ordering {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(a), None) => with_fraction(a, float(b)),
        (None, Some(b)) => with_fraction(b, float(a)).reverse(),
        (None, None) => float(a).total_cmp(&float(b)),
    }
}

/// Compares an integer with a double that is none, or is beyond every integer here.
fn with_fraction(integer: i128, float: f64) -> Ordering {
    if float.abs() >= LIMIT {
        return if float > 0.0 { Ordering::Less } else { Ordering::Greater };
    }
    // Equal to the whole part means less than a positive fraction's number.
    let floor = truncated(float.floor());
    if integer <= floor { Ordering::Less } else { Ordering::Greater }
}

/// Returns the number's value if it has no fraction.
pub(crate) fn integer(number: &Number) -> Option<i128> {
    if let Some(value) = number.as_i64() {
        return Some(value.into());
    }
    if let Some(value) = number.as_u64() {
        return Some(value.into());
    }
    let value = float(number);
    (value.fract() == 0.0 && value.abs() < LIMIT).then(|| truncated(value))
}

/// Reports whether a number is an integer in JSON Schema's sense: its fraction is zero.
pub(crate) fn is_integer(number: &Number) -> bool {
    integer(number).is_some() || float(number).fract() == 0.0
}

#[expect(clippy::cast_possible_truncation, reason = "the caller has checked the range")]
fn truncated(value: f64) -> i128 {
    value as i128
}

fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or(f64::NAN)
}

/// Reports whether two documents are equal in JSON Schema's sense.
pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare(a, b) == Ordering::Equal,
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn numbers_compare_by_value() {
        for (a, b, wanted) in [
            ("1", "1.0", Ordering::Equal),
            ("1", "1.5", Ordering::Less),
            ("2", "1.5", Ordering::Greater),
            ("-1", "-1.5", Ordering::Greater),
            ("-2", "-1.5", Ordering::Less),
            ("9007199254740993", "9007199254740992.0", Ordering::Greater),
            ("18446744073709551615", "1.8446744073709552e19", Ordering::Less),
            ("1e300", "18446744073709551615", Ordering::Greater),
            ("-1e300", "-9223372036854775808", Ordering::Less),
            ("0", "-0.0", Ordering::Equal),
        ] {
            assert_eq!(compare(&number(a), &number(b)), wanted, "{a} {b}");
            assert_eq!(compare(&number(b), &number(a)), wanted.reverse(), "{b} {a}");
        }
        assert!(is_integer(&number("1e300")) && !is_integer(&number("0.5")));
    }
}
