//! Opens encrypted Parquet files. The parquet crate decrypts pages for arrow alone: here a row group is decrypted as a
//! whole, and read as one that never was encrypted.

use std::fmt;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::ChunkReader;
use ring::aead::LessSafeKey;

use super::aead;
use super::end::{End, end, varint};
use super::keyring::open_label;
use super::label::Label;

/// Kinds of modules.
const FOOTER: u8 = 0;
const DATA: u8 = 2;
const DICTIONARY: u8 = 3;
const DATA_HEADER: u8 = 4;
const DICTIONARY_HEADER: u8 = 5;

/// The bytes of a module that say how long it is.
const LENGTH: usize = 4;
/// An offset of 0 means that there is none.
const BEFORE: &[u8] = b"PAR1";

/// The key of the modules of one file.
pub(crate) struct FileKey {
    key: LessSafeKey,
    file: Vec<u8>,
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey(…)")
    }
}

fn damaged(what: impl Into<String>) -> ParquetError {
    ParquetError::General(what.into())
}

/// Reads what the end of a file of `size` bytes says, and what opens its row groups where that is encrypted.
///
/// # Errors
/// When it cannot be read; [`ParquetError::NeedMoreData`] where more of its end is needed.
pub(crate) fn metadata(
    tail: &Bytes,
    size: u64,
) -> Result<(ParquetMetaData, Option<FileKey>), ParquetError> {
    let (file, label, footer) = match end(tail) {
        End::Clear => {
            let mut reader = ParquetMetaDataReader::new();
            reader.try_parse_sized(tail, size)?;
            return Ok((reader.finish()?, None));
        }
        End::More(needed) => {
            return Err(ParquetError::NeedMoreData(usize::try_from(needed)?));
        }
        End::Unknown => return Err(damaged("what it says of its encryption cannot be read")),
        End::Encrypted { file, label, footer } => (file, label, footer),
    };
    let label = Label::parse(label).ok_or_else(|| damaged("it does not say with which key"))?;
    let key = open_label(&label).map_err(|locked| damaged(locked.to_string()))?;
    let key = key.ok_or_else(|| damaged("the name of its key is not whole"))?;
    let key = FileKey { key: aead::ready(key.bytes()), file };
    let mut rest = footer;
    let text = key.module(&mut rest, FOOTER, &[])?;
    Ok((ParquetMetaDataReader::decode_metadata(&text)?, Some(key)))
}

impl FileKey {
    /// Opens the next module.
    fn module(&self, rest: &mut &[u8], kind: u8, place: &[u16]) -> Result<Vec<u8>, ParquetError> {
        let (mut text, module) = (Vec::new(), next(rest)?);
        self.open(module, kind, place, &mut text)?;
        Ok(text)
    }

    /// Opens a module behind what `text` has already: a page is large, and copied once.
    fn open(
        &self,
        module: &[u8],
        kind: u8,
        place: &[u16],
        text: &mut Vec<u8>,
    ) -> Result<(), ParquetError> {
        let mut about = self.file.clone();
        about.push(kind);
        about.extend(place.iter().flat_map(|number| number.to_le_bytes()));
        let opened = aead::decrypt_into(&self.key, &about, module, text);
        opened.ok_or_else(|| damaged("a module is not what was encrypted"))
    }

    /// Decrypts a row group: its bytes, and where in them its columns are.
    ///
    /// # Errors
    /// When it is not what was encrypted.
    pub(crate) fn row_group(
        &self,
        index: usize,
        group: &RowGroupMetaData,
        source: &impl ChunkReader,
    ) -> Result<(RowGroupMetaData, Bytes), ParquetError> {
        let (mut plain, mut columns) = (BEFORE.to_vec(), Vec::new());
        let size = group.columns().iter().map(|column| column.byte_range().1).sum::<u64>();
        // A size may be a lie, and there is no more than the file has.
        plain.reserve(usize::try_from(size.min(source.len()))?);
        let index = u16::try_from(index)?;
        for (number, column) in (0..).zip(group.columns()) {
            let (start, length) = column.byte_range();
            let bytes = source.get_bytes(start, usize::try_from(length)?)?;
            let (mut rest, begin) = (&bytes[..], plain.len());
            let (mut dictionary, mut data, mut page) = (None, None, 0);
            while !rest.is_empty() {
                let at = i64::try_from(plain.len())?;
                let is_dictionary =
                    column.dictionary_page_offset().is_some() && at == i64::try_from(begin)?;
                let place = [index, number, page];
                let (head, body, place) = if is_dictionary {
                    dictionary = Some(at);
                    (DICTIONARY_HEADER, DICTIONARY, &place[..2])
                } else {
                    data.get_or_insert(at);
                    page += 1;
                    (DATA_HEADER, DATA, &place[..])
                };
                let head = self.module(&mut rest, head, place)?;
                let page = next(&mut rest)?;
                let size = page.len().saturating_sub(aead::MORE);
                plain.extend(resized(&head, size).ok_or_else(|| damaged("an unknown page"))?);
                self.open(page, body, place, &mut plain)?;
            }
            let column = column
                .clone()
                .into_builder()
                .set_data_page_offset(data.unwrap_or(i64::try_from(begin)?))
                .set_dictionary_page_offset(dictionary)
                .set_total_compressed_size(i64::try_from(plain.len() - begin)?);
            columns.push(column.build()?);
        }
        let group = group.clone().into_builder().set_column_metadata(columns).build()?;
        Ok((group, plain.into()))
    }
}

/// Takes the next module, as it is.
fn next<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], ParquetError> {
    let cut = || damaged("a module is cut short");
    let (length, after) = rest.split_first_chunk::<LENGTH>().ok_or_else(cut)?;
    let length = usize::try_from(u32::from_le_bytes(*length))?;
    let (module, after) = after.split_at_checked(length).ok_or_else(cut)?;
    *rest = after;
    Ok(module)
}

/// Returns a page's header with another size, because encrypted pages are larger. The third of its fields is the size,
/// and all three are numbers.
fn resized(header: &[u8], size: usize) -> Option<Vec<u8>> {
    const NUMBER: u8 = 0x15;
    let mut rest = header;
    for _ in 0..2 {
        rest = rest.strip_prefix(&[NUMBER])?;
        varint(&mut rest)?;
    }
    rest = rest.strip_prefix(&[NUMBER])?;
    let mut new = header[..header.len() - rest.len()].to_vec();
    varint(&mut rest)?;
    let mut left = u64::try_from(size).ok()? << 1;
    while left >= 128 {
        new.push(left.to_le_bytes()[0] | 128);
        left >>= 7;
    }
    new.push(left.to_le_bytes()[0]);
    new.extend_from_slice(rest);
    Some(new)
}
