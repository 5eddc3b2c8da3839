//! Consumers that keep messages in interest streams until they are archived.

/// The prefix of all their names.
pub const ANCHOR: &str = "cim-tier-";

/// Returns the name for an archive, from its bucket on the NAS: it is the same wherever the storage manager runs.
pub fn anchor(bucket: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    format!("{ANCHOR}{}", bucket.chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_servers_take() {
        assert_eq!(anchor("cim-archive"), "cim-tier-cim-archive");
        assert_eq!(anchor("a.b c/d>*ü"), "cim-tier-a_b_c_d___");
    }
}
