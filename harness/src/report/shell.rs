//! Quotes a command for a shell.

/// Returns `ci/scenario` with these arguments, quoted as needed.
pub(crate) fn command(arguments: &[String]) -> String {
    let words: Vec<String> = arguments.iter().map(|word| quoted(word)).collect();
    format!("ci/scenario {}", words.join(" "))
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_read_otherwise_is_quoted() {
        let words = ["tiering", "--corpus", "it's a file", "--rate", "10/s", ""];
        let words: Vec<String> = words.map(str::to_owned).into();
        assert_eq!(
            command(&words),
            r"ci/scenario tiering --corpus 'it'\''s a file' --rate 10/s ''"
        );
    }
}
