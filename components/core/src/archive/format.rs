//! The formats of what is stored, and how a reader tells that one is too new for it.

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 3;

/// The format that this version writes, and the newest that it reads. Formats up to 3 are those of chains,
/// [`crate::archive::FORMAT`].
pub const JOURNAL_FORMAT: u32 = 8;
