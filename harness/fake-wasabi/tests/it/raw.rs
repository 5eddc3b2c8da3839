//! A small S3 client that signs any request and returns the answer as it came.

use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use s3s::dto::{Timestamp, TimestampFormat};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;

const REGION: &str = "us-east-1";

/// The server's answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the S3 error code, or an empty string if there is none.
    pub(crate) fn code(&self) -> String {
        crate::support::element(&self.text(), "Code").unwrap_or_default().to_owned()
    }

    /// Panics with the whole answer unless the status is `status`.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}\n{}", self.headers, self.text());
        self
    }

    /// Panics with the whole answer unless the status and the S3 error code are these.
    #[track_caller]
    pub(crate) fn expect_code(self, status: u16, code: &str) -> Self {
        let reply = self.expect(status);
        assert_eq!(reply.code(), code, "{}", reply.text());
        reply
    }
}

/// A client that signs requests with one key pair.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) addr: String,
    access_key: String,
    secret_key: String,
    /// The date of requests, instead of the current time.
    pub(crate) now: Option<SystemTime>,
    /// A Host header other than the address.
    pub(crate) host: Option<String>,
}

/// A signature and what it was made with, for signing the chunks that follow.
pub(crate) struct Signed {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) signature: String,
    pub(crate) date: String,
    pub(crate) scope: String,
    pub(crate) key: Vec<u8>,
}

impl Client {
    pub(crate) fn new(url: &str, access_key: &str, secret_key: &str) -> Self {
        Self {
            addr: url.trim_start_matches("http://").to_owned(),
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            now: None,
            host: None,
        }
    }

    pub(crate) async fn get(&self, target: &str) -> Reply {
        self.send("GET", target, &[], "").await.unwrap()
    }

    pub(crate) async fn put(&self, target: &str, body: impl Into<Bytes>) -> Reply {
        self.send("PUT", target, &[], body).await.unwrap()
    }

    pub(crate) async fn delete(&self, target: &str) -> Reply {
        self.send("DELETE", target, &[], "").await.unwrap()
    }

    /// Sends a request whose body is hashed into the signature. The target is percent-encoded.
    pub(crate) async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Reply> {
        let body = body.into();
        let hash = hex::encode(Sha256::digest(&body));
        let signed = self.sign(method, target, headers, &hash);
        self.transmit(method, target, &signed.headers, body).await
    }

    /// Signs a request for a payload with this hash, or with one of S3's special values for it.
    pub(crate) fn sign(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        payload: &str,
    ) -> Signed {
        let mut text = Vec::new();
        Timestamp::from(self.now.unwrap_or_else(SystemTime::now))
            .format(TimestampFormat::DateTime, &mut text)
            .unwrap();
        let text = String::from_utf8(text).unwrap();
        let whole = text.split('.').next().unwrap_or_default();
        let date = format!("{}Z", whole.replace(['-', ':'], ""));
        let scope = format!("{}/{REGION}/s3/aws4_request", &date[..8]);

        let host = self.host.clone().unwrap_or_else(|| self.addr.clone());
        let mut all: Vec<(String, String)> = vec![
            (HOST.as_str().to_owned(), host),
            ("x-amz-content-sha256".to_owned(), payload.to_owned()),
            ("x-amz-date".to_owned(), date.clone()),
        ];
        all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        all.sort();
        let names: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut pairs: Vec<_> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") })
            .collect();
        pairs.sort();
        let mut canonical = format!("{method}\n{path}\n{}\n", pairs.join("&"));
        for (name, value) in &all {
            canonical += &[name, ":", value.trim(), "\n"].concat();
        }
        canonical += &["\n", &names, "\n", payload].concat();
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
            hex::encode(Sha256::digest(&canonical))
        );
        let mut key = hmac(format!("AWS4{}", self.secret_key).as_bytes(), &date.as_bytes()[..8]);
        for part in [REGION, "s3", "aws4_request"] {
            key = hmac(&key, part.as_bytes());
        }
        let signature = hex::encode(hmac(&key, to_sign.as_bytes()));
        all.push((
            "authorization".to_owned(),
            format!(
                "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
                self.access_key
            ),
        ));
        Signed { headers: all, signature, date, scope, key }
    }

    /// Sends a request as it is, on a connection of its own.
    pub(crate) async fn transmit(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> anyhow::Result<Reply> {
        let stream = TcpStream::connect(&self.addr).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driving = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(target).body(Full::new(body))?;
        for (name, value) in headers {
            let name = HeaderName::try_from(name.as_str())?;
            request.headers_mut().insert(name, HeaderValue::try_from(value.as_str())?);
        }
        if !request.headers().contains_key(HOST) {
            request.headers_mut().insert(HOST, self.addr.parse()?);
        }
        let response = sender.send_request(request).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        driving.abort();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

pub(crate) fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message);
    let outer = Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c));
    outer.chain_update(inner.finalize()).finalize().to_vec()
}
