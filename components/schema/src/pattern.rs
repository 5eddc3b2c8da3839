//! Regular expressions, as far as every engine reads them alike.

/// Reports whether a pattern finds something in a text, or `None` where engines may differ.
///
/// JSON Schema's patterns are those of ECMA-262, and this is not that engine. So both pattern and text must be
/// of the part that they have in common: printable ASCII, no escapes of their own, no sets within sets.
pub(crate) fn finds(pattern: &str, text: &str) -> Option<bool> {
    let common = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !common(pattern) || !common(text) || !escapes_are_common(pattern) || sets_are_odd(pattern) {
        return None;
    }
    regex_lite::Regex::new(pattern).ok().map(|regex| regex.is_match(text))
}

fn escapes_are_common(pattern: &str) -> bool {
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if letter == '\\' {
            match letters.next() {
                Some('d' | 'D' | 'w' | 'W' | 's' | 'S' | 't' | 'r' | 'n' | 'f' | 'v') => {}
                Some(other) if !other.is_ascii_alphanumeric() && other != '<' && other != '>' => {}
                _ => return false,
            }
        }
    }
    true
}

/// Reports whether a pattern has what one engine takes for an operation on sets or for flags, another for letters.
fn sets_are_odd(pattern: &str) -> bool {
    ["[[", "[^[", "&&", "--", "~~", "[]", "[^]", "(?"].iter().any(|odd| pattern.contains(odd))
}

#[cfg(test)]
mod tests {
    use super::finds;

    #[test]
    fn only_what_is_common_is_answered() {
        assert_eq!(finds("^[a-z]+$", "abc"), Some(true));
        assert_eq!(finds("^[a-z]+$", "aBc"), Some(false));
        assert_eq!(finds("b", "abc"), Some(true));
        assert_eq!(finds(r"^\d{2}$", "12"), Some(true));
        assert_eq!(finds(r"\bb", "b"), None);
        assert_eq!(finds("^a.c$", "a\rc"), None);
        assert_eq!(finds("^.$", "é"), None);
        assert_eq!(finds("[[a]]", "a]"), None);
        assert_eq!(finds("(?i)a", "A"), None);
        assert_eq!(finds("(", "("), None);
    }
}
