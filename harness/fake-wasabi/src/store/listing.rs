//! Listings: one ordered walk over the keys of a bucket, with prefix, delimiter and paging.
//!
//! Keys are ordered by their UTF-8 bytes, as S3 orders them and as `str` compares. A group of keys
//! that a delimiter rolls up is skipped by one seek, so a listing costs what it returns.

use std::collections::BTreeMap;
use std::ops::Bound;

/// The parameters of a listing.
#[derive(Debug, Default)]
pub(crate) struct Query<'a> {
    pub(crate) prefix: &'a str,
    /// Never empty: an empty delimiter in a request means none.
    pub(crate) delimiter: Option<&'a str>,
    pub(crate) after: After,
    /// The maximum number of keys and common prefixes to return.
    pub(crate) limit: usize,
}

/// The position that a listing starts after.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum After {
    #[default]
    Beginning,
    /// After this key; a common prefix that equals it is skipped as well.
    Key(String),
    /// After every key with this prefix.
    Prefix(String),
}

/// One row of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a, V> {
    Key(&'a str, &'a V),
    CommonPrefix(String),
}

/// One page of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page<'a, V> {
    pub(crate) entries: Vec<Entry<'a, V>>,
    /// The start of the next page, if there is one.
    pub(crate) next: Option<After>,
}

/// Lists the keys that `visible` accepts.
pub(crate) fn list<'a, V>(
    keys: &'a BTreeMap<String, V>,
    query: &Query<'_>,
    visible: impl Fn(&V) -> bool,
) -> Page<'a, V> {
    let mut page = Page { entries: Vec::new(), next: None };
    if query.limit == 0 {
        return page;
    }
    let mut start = match &query.after {
        After::Beginning => Bound::Included(query.prefix.to_owned()),
        After::Key(key) if key.as_str() < query.prefix => Bound::Included(query.prefix.to_owned()),
        After::Key(key) => Bound::Excluded(key.clone()),
        After::Prefix(prefix) => match past(prefix) {
            Some(next) => Bound::Included(next),
            None => return page,
        },
    };
    if let (After::Key(key), Some(delimiter)) = (&query.after, query.delimiter)
        && common_prefix(key, query.prefix, delimiter).is_some_and(|common| common == key)
    {
        match past(key) {
            Some(next) => start = Bound::Included(next),
            None => return page,
        }
    }
    let mut last = After::Beginning;
    loop {
        let range = (start.as_ref().map(String::as_str), Bound::Unbounded);
        let found = keys
            .range::<str, _>(range)
            .take_while(|(key, _)| key.starts_with(query.prefix))
            .find(|(_, value)| visible(value));
        let Some((key, value)) = found else { return page };
        if page.entries.len() == query.limit {
            page.next = Some(last);
            return page;
        }
        if let Some(common) = query.delimiter.and_then(|d| common_prefix(key, query.prefix, d)) {
            page.entries.push(Entry::CommonPrefix(common.to_owned()));
            last = After::Prefix(common.to_owned());
            match past(common) {
                Some(next) => start = Bound::Included(next),
                None => return page,
            }
        } else {
            page.entries.push(Entry::Key(key, value));
            last = After::Key(key.clone());
            start = Bound::Excluded(key.clone());
        }
    }
}

/// Returns the part of `key` up to and including the first delimiter after the prefix.
pub(crate) fn common_prefix<'a>(key: &'a str, prefix: &str, delimiter: &str) -> Option<&'a str> {
    let rest = key.strip_prefix(prefix)?;
    let at = rest.find(delimiter)?;
    Some(&key[..prefix.len() + at + delimiter.len()])
}

/// Returns the least string that is greater than every string with this prefix, if there is one.
fn past(prefix: &str) -> Option<String> {
    let mut head = prefix.to_owned();
    while let Some(last) = head.pop() {
        // The range of `char` skips the surrogates, which no string holds.
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            other => char::from_u32(u32::from(other) + 1),
        };
        if let Some(next) = next {
            head.push(next);
            return Some(head);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> BTreeMap<String, u8> {
        names.iter().map(|name| ((*name).to_owned(), 0)).collect()
    }

    fn names(page: &Page<'_, u8>) -> Vec<String> {
        page.entries
            .iter()
            .map(|entry| match entry {
                Entry::Key(key, _) => (*key).to_owned(),
                Entry::CommonPrefix(prefix) => format!("{prefix}*"),
            })
            .collect()
    }

    /// Lists page after page and returns all of them.
    fn all(
        keys: &BTreeMap<String, u8>,
        prefix: &str,
        delimiter: Option<&str>,
        limit: usize,
    ) -> Vec<String> {
        let mut after = After::Beginning;
        let mut out = Vec::new();
        loop {
            let query = Query { prefix, delimiter, after, limit };
            let page = list(keys, &query, |_| true);
            assert!(page.entries.len() <= limit);
            out.extend(names(&page));
            match page.next {
                Some(next) => after = next,
                None => return out,
            }
        }
    }

    #[test]
    fn a_delimiter_rolls_keys_up() {
        let keys = keys(&["a", "a/b", "a/c/d", "a0", "b/", "b/x", "c"]);
        let want = ["a", "a/*", "a0", "b/*", "c"];
        for limit in 1..8 {
            assert_eq!(all(&keys, "", Some("/"), limit), want, "limit {limit}");
        }
        assert_eq!(all(&keys, "a/", Some("/"), 1), ["a/b", "a/c/*"]);
        assert_eq!(all(&keys, "a", None, 2), ["a", "a/b", "a/c/d", "a0"]);
    }

    #[test]
    fn paging_agrees_with_one_page_whatever_the_characters() {
        let odd = [
            "\u{1}",
            "~",
            "\u{7f}",
            "é/1",
            "é/2",
            "\u{d7ff}/1",
            "\u{e000}",
            "\u{10ffff}/z",
            "\u{10ffff}\u{10ffff}",
        ];
        let keys = keys(&odd);
        for delimiter in [None, Some("/"), Some("\u{10ffff}")] {
            let whole = all(&keys, "", delimiter, 100);
            for limit in 1..5 {
                assert_eq!(all(&keys, "", delimiter, limit), whole);
            }
        }
    }

    #[test]
    fn a_marker_that_is_a_common_prefix_skips_the_group() {
        let keys = keys(&["a/1", "a/2", "b"]);
        let query = |after: &str| Query {
            delimiter: Some("/"),
            after: After::Key(after.to_owned()),
            limit: 10,
            ..Query::default()
        };
        assert_eq!(names(&list(&keys, &query("a/"), |_| true)), ["b"]);
        // A marker inside the group still leaves keys of the group to list.
        assert_eq!(names(&list(&keys, &query("a/1"), |_| true)), ["a/*", "b"]);
    }

    #[test]
    fn a_marker_before_the_prefix_starts_at_the_prefix() {
        let keys = keys(&["a", "p/1", "p/2"]);
        let query =
            Query { prefix: "p/", after: After::Key("b".into()), limit: 9, ..Query::default() };
        assert_eq!(names(&list(&keys, &query, |_| true)), ["p/1", "p/2"]);
    }

    #[test]
    fn invisible_keys_neither_count_nor_roll_up() {
        let keys: BTreeMap<String, bool> =
            [("a/1", false), ("b", true), ("c/1", true)].map(|(k, v)| (k.to_owned(), v)).into();
        let query = Query { delimiter: Some("/"), limit: 1, ..Query::default() };
        let page = list(&keys, &query, |visible| *visible);
        assert_eq!(page.entries, [Entry::Key("b", &true)]);
        assert_eq!(page.next, Some(After::Key("b".into())));
    }

    #[test]
    fn nothing_is_listed_when_nothing_is_asked_for() {
        let keys = keys(&["a"]);
        let page = list(&keys, &Query::default(), |_| true);
        assert_eq!(page, Page { entries: Vec::new(), next: None });
    }
}
