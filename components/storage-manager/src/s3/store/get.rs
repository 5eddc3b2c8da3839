//! Reads objects: whole, in part, from their end.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{LONGEST, Store, URL_LIFETIME_SECONDS};
use crate::crypt;
use crate::s3::access::Way;
use crate::s3::error::{ErrorKind, S3Error};
use crate::s3::page;

/// Bytes that are set aside at most for an object that nothing was seen of: its size may be a lie.
const RESERVED: usize = 64 << 20;

/// Bytes of an object's end that say with which key it opens, of most.
const END: u64 = 8 << 10;

/// The part of an object that is asked for.
enum Wanted {
    /// All of it, so many bytes at most.
    Whole(u64),
    /// So many bytes of its end.
    Tail(u64),
    /// The bytes in a range.
    Span(Range<u64>),
}

/// The answer to a request for an object.
struct Answer {
    status: u16,
    /// The size of the whole object, where a part came.
    size: Option<u64>,
    bytes: Bytes,
}

impl Wanted {
    fn header(&self) -> Option<String> {
        match self {
            Self::Whole(_) => None,
            Self::Tail(bytes) => Some(format!("bytes=-{bytes}")),
            Self::Span(range) => {
                Some(format!("bytes={}-{}", range.start, range.end.saturating_sub(1)))
            }
        }
    }

    /// Returns how many bytes of the answer are read.
    fn most(&self, status: u16) -> u64 {
        match self {
            Self::Whole(most) => *most,
            Self::Tail(bytes) if status == 206 => *bytes,
            Self::Tail(_) => u64::MAX,
            Self::Span(range) if status == 206 => range.end.saturating_sub(range.start),
            Self::Span(range) => range.end,
        }
    }
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl Store {
    /// Fetches an object, if it is not encrypted with a key that is not here.
    pub async fn get(&self, key: &str) -> Result<Bytes, S3Error> {
        self.unlocked(key, self.get_as_is(key).await?)
    }

    /// Fetches an object with one try, even if the store has retries.
    pub async fn get_once(&self, key: &str) -> Result<Bytes, S3Error> {
        self.unlocked(key, self.get_as_is_once(key).await?)
    }

    /// Fetches an object's bytes, with or without its encryption key.
    pub async fn get_as_is(&self, key: &str) -> Result<Bytes, S3Error> {
        self.call("get", key, || self.get_as_is_once(key)).await
    }

    async fn get_as_is_once(&self, key: &str) -> Result<Bytes, S3Error> {
        Ok(self.read(key, Wanted::Whole(u64::MAX), self.timeout).await?.bytes)
    }

    /// Passes on what was fetched of an object, if there is a key of it.
    fn unlocked(&self, key: &str, bytes: Bytes) -> Result<Bytes, S3Error> {
        match crypt::check(&bytes) {
            Ok(()) => Ok(bytes),
            Err(locked) => Err(self.error("get", key, ErrorKind::Locked(Box::new(locked)))),
        }
    }

    /// Takes an object for damaged that could not be had, while the service lists it: a disk that rots is no service that
    /// is away.
    pub async fn judged(&self, error: S3Error) -> S3Error {
        if !error.kind.may_be_of_an_object() || self.list(&error.key, false).await.is_err() {
            return error;
        }
        S3Error { kind: ErrorKind::Withheld(error.kind.to_string()), ..error }
    }

    /// Fetches an object of about `size` bytes into one buffer of that size; of a larger object one byte more, for the
    /// caller who checks its hash.
    ///
    /// The time limit is one for silence: many large objects may come at once over a slow line.
    pub async fn get_at_most(&self, key: &str, size: u64) -> Result<Bytes, S3Error> {
        self.unlocked(key, self.get_at_most_as_is(key, size).await?)
    }

    /// Fetches an object of about `size` bytes likewise, with or without its encryption key.
    pub async fn get_at_most_as_is(&self, key: &str, size: u64) -> Result<Bytes, S3Error> {
        self.call("get", key, || self.get_at_most_once(key, size)).await
    }

    async fn get_at_most_once(&self, key: &str, size: u64) -> Result<Bytes, S3Error> {
        Ok(self.read(key, Wanted::Whole(size.saturating_add(1)), LONGEST).await?.bytes)
    }

    /// Fetches the last bytes of an object, so many at most, and its size. An empty object has none.
    pub async fn get_tail(&self, key: &str, wanted: u64) -> Result<(Bytes, u64), S3Error> {
        let once = || async {
            let Answer { status, mut bytes, size } =
                self.read(key, Wanted::Tail(wanted), LONGEST).await?;
            if status == 206 {
                let what = "a part of an object without a `Content-Range`";
                let unexpected = || self.error("get", key, ErrorKind::Unexpected(what.into()));
                return Ok((bytes, size.ok_or_else(unexpected)?));
            }
            // It is empty, or the service refuses a part that is longer than the object.
            if status == 416 {
                bytes = self.read(key, Wanted::Whole(u64::MAX), LONGEST).await?.bytes;
            }
            // Now, or where the service does not do ranges, this is all of it.
            let size = bytes.len() as u64;
            Ok((bytes.split_off(bytes.len().saturating_sub(to_usize(wanted))), size))
        };
        let (bytes, size) = self.call("get", key, once).await?;
        Ok((self.unlocked(key, bytes)?, size))
    }

    /// Looks whether there is a key of an object, which its end says. What is not Parquet passes.
    ///
    /// # Errors
    /// When there is none, or the object cannot be had.
    pub async fn look(&self, key: &str) -> Result<(), S3Error> {
        let (end, size) = self.get_tail(key, END).await?;
        let Some(range) = crypt::label_range(&end, size) else { return Ok(()) };
        let bytes = self.get_range(key, range).await?;
        let looked = crypt::check_range(&bytes);
        looked.map_err(|locked| self.error("get", key, ErrorKind::Locked(Box::new(locked))))
    }

    /// Fetches some bytes of an object; fewer if it ends before them.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, S3Error> {
        let once = || async {
            let answer = self.read(key, Wanted::Span(range.clone()), LONGEST).await?;
            let Answer { status, mut bytes, .. } = answer;
            // A service that does not do ranges begins at the beginning.
            let before = if status == 206 { 0 } else { to_usize(range.start) };
            Ok(bytes.split_off(before.min(bytes.len())))
        };
        self.unlocked(key, self.call("get", key, once).await?)
    }

    /// Asks for an object, or for a part of it, and reads the answer into one buffer that is set aside for it: pieces
    /// that were put together at the end would be there twice.
    async fn read(&self, key: &str, wanted: Wanted, limit: Duration) -> Result<Answer, S3Error> {
        self.keyed(|way| self.read_by(way, key, &wanted, limit)).await
    }

    async fn read_by(
        &self,
        way: Arc<Way>,
        key: &str,
        wanted: &Wanted,
        limit: Duration,
    ) -> Result<Answer, S3Error> {
        self.count();
        let url = way.bucket.presign_get(key, URL_LIFETIME_SECONDS, None).await;
        let url = url.map_err(|e| self.client_error("get", key, &e))?;
        let mut request = way.client.get(url).timeout(limit);
        if let Some(range) = wanted.header() {
            request = request.header("range", range);
        }
        let mut response = self.in_time(key, request.send()).await?;
        let status = response.status().as_u16();
        // What is asked for lies behind the object's end.
        if status == 416 && wanted.header().is_some() {
            return Ok(Answer { status, size: None, bytes: Bytes::new() });
        }
        if !response.status().is_success() {
            let text = self.in_time(key, response.text()).await?;
            return Err(self.error("get", key, ErrorKind::from_response(status, &text)));
        }
        if let Some(what) = page::not_the_object(response.headers()) {
            return Err(self.error("get", key, ErrorKind::Unexpected(what)));
        }
        let size = response.headers().get("content-range").and_then(|v| v.to_str().ok());
        let size = size.and_then(|range| range.rsplit_once('/')?.1.parse().ok());
        // Some services send a part as if it were the whole, and say where it is from (rclone 1.75.2).
        let status = if size.is_some() { 206 } else { status };
        let most = to_usize(wanted.most(status));
        let stated = response.content_length().map_or(0, to_usize);
        let mut bytes = Vec::with_capacity(stated.min(most).min(RESERVED));
        while let Some(part) = self.in_time(key, response.chunk()).await? {
            bytes.extend_from_slice(&part[..part.len().min(most - bytes.len())]);
            if bytes.len() == most {
                break;
            }
        }
        Ok(Answer { status, size, bytes: bytes.into() })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;
    use crate::s3::Tier;

    const OBJECT: &[u8] = b"0123456789";

    /// Returns the answer of a service that sends a part with the status of the whole, and refuses one that is longer
    /// than it.
    fn answer(range: Option<&str>) -> String {
        let size = OBJECT.len();
        let part = range.map(|range| match range.split_once('-').unwrap() {
            ("", tail) => size.checked_sub(tail.parse().unwrap()).map(|from| (from, size - 1)),
            (from, to) => Some((from.parse().unwrap(), to.parse::<usize>().unwrap().min(size - 1))),
        });
        let (head, body) = match part {
            Some(None) => ("HTTP/1.1 416 Range Not Satisfiable\r\n".into(), &[][..]),
            Some(Some((from, to))) => {
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Range: bytes {from}-{to}/{size}\r\n");
                (head, &OBJECT[from..=to])
            }
            None => ("HTTP/1.1 200 OK\r\n".into(), OBJECT),
        };
        let (length, body) = (body.len(), String::from_utf8_lossy(body));
        format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    }

    async fn serve(listener: TcpListener) {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let (mut lines, mut range) = (BufReader::new(&mut socket).lines(), None);
            while let Some(line) = lines.next_line().await.unwrap().filter(|line| !line.is_empty())
            {
                range = line.to_lowercase().strip_prefix("range: bytes=").map(Into::into).or(range);
            }
            let range: Option<String> = range;
            socket.write_all(answer(range.as_deref()).as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_part_is_one_whatever_its_status() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(serve(listener));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"AWS_ACCESS_KEY_ID=k\nAWS_SECRET_ACCESS_KEY=s\n").unwrap();
        let config = format!(
            "endpoint = \"{url}\"\nbucket = \"bucket\"\ncredentials_file = \"{}\"\n",
            file.path().display()
        );
        let config = cim_runtime::config::parse(std::path::Path::new("c"), &config).unwrap();
        let store = Store::open(Tier::Nas, &config).unwrap();
        assert_eq!(store.get_range("o", 2..5).await.unwrap(), "234");
        assert_eq!(store.get_range("o", 8..20).await.unwrap(), "89");
        assert_eq!(store.get_tail("o", 3).await.unwrap(), (Bytes::from_static(b"789"), 10));
        assert_eq!(store.get_tail("o", 30).await.unwrap(), (Bytes::from_static(OBJECT), 10));
        assert_eq!(store.get("o").await.unwrap(), OBJECT);
        serving.abort();
    }
}
