//! The digest of a state: SHA-256 of its canonical JSON (RFC 8785), the same in every process and every language.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Returns the digest of a state: 64 hexadecimal digits.
///
/// Numbers in it must fit into 53 bits, as RFC 8785 has it for all JSON.
pub fn digest(state: &impl Serialize) -> String {
    let canonical = serde_json_canonicalizer::to_vec(state).expect("a state is JSON");
    hex::encode(Sha256::digest(canonical))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Held against the programs at hand: `printf '{"a":[1,true],"b":"é"}' | sha256sum`.
    #[test]
    fn order_and_spaces_do_not_matter() {
        let one: serde_json::Value = serde_json::from_str(r#"{"b":"é", "a":[1.0, true]}"#).unwrap();
        assert_eq!(digest(&one), hex::encode(Sha256::digest(r#"{"a":[1,true],"b":"é"}"#)));
    }
}
