//! The end of an encrypted Parquet file: in the clear what it takes to open it, then its footer.

/// The beginning and the end of an encrypted file.
const MAGIC: &[u8] = b"PARE";
/// The deepest nesting of structures.
const DEPTH: usize = 4;

/// The meaning of an object's last bytes.
pub(super) enum End<'a> {
    /// No end of an encrypted file.
    Clear,
    /// The end of one, of which so many bytes are needed.
    More(u64),
    /// The end of one.
    Encrypted {
        /// The text that authenticates each module, before the module's own.
        file: Vec<u8>,
        /// With which key it opens.
        label: &'a [u8],
        /// The footer's module.
        footer: &'a [u8],
    },
    /// The end of one, damaged or of another kind.
    Unknown,
}

/// Returns whether these are the bytes of an encrypted Parquet file: both ends say so, and one of them may be damaged.
pub fn is_encrypted(file: &[u8]) -> bool {
    file.starts_with(MAGIC) || file.ends_with(MAGIC)
}

/// Reads the end of an object.
pub(super) fn end(tail: &[u8]) -> End<'_> {
    let Some((before, length)) = tail.strip_suffix(MAGIC).and_then(<[u8]>::split_last_chunk::<4>)
    else {
        return End::Clear;
    };
    let length = u32::from_le_bytes(*length);
    let begin = usize::try_from(length).ok().and_then(|length| before.len().checked_sub(length));
    let Some(begin) = begin else { return End::More(u64::from(length) + 8) };
    crypto(&before[begin..]).unwrap_or(End::Unknown)
}

/// Returns what a file says of its key, of which these are the bytes from where it says so.
pub(super) fn label_at(bytes: &[u8]) -> Option<&[u8]> {
    match crypto(bytes)? {
        End::Encrypted { label, .. } => Some(label),
        _ => None,
    }
}

/// Reads Parquet's `FileCryptoMetaData`: of AES-GCM with all that authenticates in the file.
fn crypto(bytes: &[u8]) -> Option<End<'_>> {
    let (mut prefix, mut unique, mut label) = (None, None, None);
    let mut rest = bytes;
    structure(&mut rest, &mut Vec::new(), &mut |path, value| match path {
        [1, 1, 1] => prefix = Some(value),
        [1, 1, 2] => unique = Some(value),
        [2] => label = Some(value),
        _ => {}
    })?;
    let file = [prefix.unwrap_or_default(), unique?].concat();
    Some(End::Encrypted { file, label: label.unwrap_or_default(), footer: rest })
}

/// Walks through a structure of Thrift's compact protocol, and hands on its byte strings with the numbers of the fields
/// that lead to them.
fn structure<'a>(
    rest: &mut &'a [u8],
    path: &mut Vec<i64>,
    found: &mut impl FnMut(&[i64], &'a [u8]),
) -> Option<()> {
    if path.len() >= DEPTH {
        return None;
    }
    let mut number = 0;
    loop {
        let head = byte(rest)?;
        if head == 0 {
            return Some(());
        }
        number = match head >> 4 {
            0 => zigzag(varint(rest)?),
            more => number + i64::from(more),
        };
        path.push(number);
        match head & 15 {
            // A truth value is its own type.
            1 | 2 => {}
            8 => {
                let length = usize::try_from(varint(rest)?).ok()?;
                let (value, after) = rest.split_at_checked(length)?;
                *rest = after;
                found(path.as_slice(), value);
            }
            12 => structure(rest, path, found)?,
            _ => return None,
        }
        path.pop();
    }
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(*first)
}

pub(super) fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let next = byte(rest)?;
        value |= u64::from(next & 127) << shift;
        if next < 128 {
            return Some(value);
        }
    }
    None
}

fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}
