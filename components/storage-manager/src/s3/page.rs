//! Answers with which all is well by their status, and that are none of S3's. Something in front of a service answers
//! with a page of its own, or packs what it passes on; a list that is cut would be an archive that is shorter.

use http::HeaderMap;
use s3::serde_types::ListBucketResult;

use super::ErrorKind;

/// Returns where a list goes on behind a page; `None` where that was the last one.
///
/// # Errors
/// The page does not say, or is of something else.
pub(super) fn next(
    prefix: &str,
    page: &ListBucketResult,
    token: Option<&str>,
) -> Result<Option<String>, String> {
    if let Some(other) = page.contents.iter().find(|object| !object.key.starts_with(prefix)) {
        return Err(format!("a list with `{}`, which is not below what was asked for", other.key));
    }
    match page.next_continuation_token.as_deref() {
        None if page.is_truncated => {
            Err("a list that is cut (`IsTruncated`) and does not say where it goes on".into())
        }
        Some(next) if token == Some(next) => Err("a list that goes on where it was already".into()),
        next => Ok(next.map(Into::into)),
    }
}

/// Returns what an answer means that says in its text that nothing was done; `None` where it does not say that.
pub(super) fn not_done(text: &str) -> Option<ErrorKind> {
    if is_page(text) {
        return Some(ErrorKind::Unexpected(A_PAGE.into()));
    }
    // As if it had failed by itself, which is tried again.
    text.contains("<Error>").then(|| ErrorKind::from_response(500, text))
}

/// Returns why an answer's body cannot be an object's.
pub(super) fn not_the_object(headers: &HeaderMap) -> Option<String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let packed = ["gzip", "br", "deflate", "zstd"];
    match header("content-encoding") {
        Some(how) if packed.contains(&how) => {
            return Some(format!(
                "packed on its way (`Content-Encoding: {how}`): have what stands before the service pass objects on as they are"
            ));
        }
        _ => {}
    }
    let page = header("content-type").is_some_and(|content| content.starts_with("text/html"));
    page.then(|| A_PAGE.into())
}

const A_PAGE: &str = "a page for people: check `endpoint` and what stands before the service";

fn is_page(text: &str) -> bool {
    let begin: String = text.trim_start().chars().take(14).collect::<String>().to_lowercase();
    begin.starts_with("<html") || begin.starts_with("<!doctype html")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> ListBucketResult {
        let text = format!(
            "<ListBucketResult><Name>b</Name><Contents><Key>a/1</Key><LastModified>x</LastModified><Size>1</Size></Contents>{text}</ListBucketResult>"
        );
        quick_xml::de::from_str(&text).unwrap()
    }

    #[test]
    fn a_list_is_whole_or_says_where_it_goes_on() {
        let cut = "<IsTruncated>true</IsTruncated>";
        let token = format!("{cut}<NextContinuationToken>t</NextContinuationToken>");
        let last = "<IsTruncated>false</IsTruncated>";
        assert_eq!(next("a/", &page(last), Some("t")), Ok(None));
        assert_eq!(next("a/", &page(&token), None), Ok(Some("t".into())));
        assert_eq!(next("a/", &page(&token), Some("s")), Ok(Some("t".into())));
        for (prefix, text, at) in
            [("a/", cut, None), ("a/", &*token, Some("t")), ("b/", last, None)]
        {
            next(prefix, &page(text), at).unwrap_err();
        }
    }

    #[test]
    fn what_was_not_done_is_told_from_what_was() {
        assert_eq!(not_done(""), None);
        let error = "<?xml version=\"1.0\"?><Error><Code>InternalError</Code></Error>";
        assert_eq!(not_done(error), Some(ErrorKind::Unavailable("InternalError".into())));
        for text in ["<html><body>", "\n<!DOCTYPE html>\n<title>Log in</title>"] {
            assert!(matches!(not_done(text), Some(ErrorKind::Unexpected(_))), "{text}");
        }
    }

    #[test]
    fn what_is_packed_or_a_page_is_no_object() {
        let headers = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())])
        };
        for (name, value) in [
            ("content-type", "application/octet-stream"),
            ("content-encoding", "aws-chunked"),
            ("etag", "gzip"),
        ] {
            assert_eq!(not_the_object(&headers(name, value)), None, "{value}");
        }
        for (name, value) in
            [("content-type", "text/html; charset=utf-8"), ("content-encoding", "gzip")]
        {
            assert!(not_the_object(&headers(name, value)).is_some(), "{value}");
        }
    }
}
