//! One connection that all readers share.
//!
//! A task reads the socket and puts what comes into the mailbox of the reader that it is for. It never
//! waits for a reader, so none holds up another. Mailboxes have no bound of their own: a server sends
//! only what was asked for, and a reader asks for no more than it has reserved.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cim_runtime::nats::NatsConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Incoming, WireError, is_denial, refused};
use super::parse::{Op, parse};

/// The silence after which a server is asked whether it is there, and then until it is
/// taken for gone.
const QUIET: Duration = Duration::from_secs(10);

/// Operations for one reader, one after the other, as the server sent them.
#[derive(Debug)]
pub struct Mail {
    pub(super) bytes: Vec<u8>,
    messages: usize,
}

impl Mail {
    /// Returns the bytes of all of it.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the number of messages; statuses count too.
    pub fn messages(&self) -> usize {
        self.messages
    }
}

type Letter = Result<Mail, String>;

struct Mailbox {
    letters: UnboundedSender<Letter>,
    /// The subject that the server names when it refuses something to this reader.
    inbox: String,
    asks: String,
}

type Mailboxes = HashMap<u64, Mailbox>;

/// A logged-in connection with its readers.
struct Live {
    address: String,
    max_payload: usize,
    outgoing: UnboundedSender<String>,
    mailboxes: Mutex<Mailboxes>,
    ended: CancellationToken,
}

impl Live {
    fn mailboxes(&self) -> MutexGuard<'_, Mailboxes> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection, which is made anew when it broke and is wanted again.
pub struct Link {
    config: NatsConfig,
    live: tokio::sync::Mutex<Option<Arc<Live>>>,
    next_sid: AtomicU64,
}

impl Link {
    /// Connects when it is wanted.
    pub fn new(config: NatsConfig) -> Self {
        Self { config, live: tokio::sync::Mutex::default(), next_sid: AtomicU64::new(1) }
    }

    /// Opens a mailbox for a reader that asks on this subject.
    pub(super) async fn subscribe(&self, asks: &str) -> Result<Subscription, WireError> {
        let live = self.live().await?;
        let sid = self.next_sid.fetch_add(1, Ordering::Relaxed);
        let inbox = format!("{}.{}", self.config.inbox_prefix, uuid::Uuid::now_v7().simple());
        let (letters, mail) = unbounded_channel();
        let mailbox = Mailbox { letters, inbox: inbox.clone(), asks: asks.into() };
        live.mailboxes().insert(sid, mailbox);
        let subscription = Subscription { live, sid, inbox, mail };
        subscription.send(format!("SUB {}.* {sid}\r\n", subscription.inbox))?;
        Ok(subscription)
    }

    /// Connects, where there is no connection.
    pub async fn connect(&self) -> Result<(), WireError> {
        self.live().await.map(drop)
    }

    async fn live(&self) -> Result<Arc<Live>, WireError> {
        let mut live = self.live.lock().await;
        if let Some(live) = live.as_ref().filter(|live| !live.ended.is_cancelled()) {
            return Ok(Arc::clone(live));
        }
        Ok(Arc::clone(live.insert(begin(Connection::open(&self.config).await?))))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(live) = self.live.get_mut() {
            live.ended.cancel();
        }
    }
}

/// A reader's place on the connection.
pub(super) struct Subscription {
    live: Arc<Live>,
    sid: u64,
    inbox: String,
    mail: UnboundedReceiver<Letter>,
}

impl Subscription {
    /// Returns the prefix of the subjects of answers.
    pub fn inbox(&self) -> &str {
        &self.inbox
    }

    /// Returns the largest payload that the server takes, in bytes.
    pub fn max_payload(&self) -> usize {
        self.live.max_payload
    }

    /// Returns the number of readers that share the connection.
    pub fn readers(&self) -> usize {
        self.live.mailboxes().len()
    }

    /// Sends lines of the protocol.
    pub fn send(&self, lines: String) -> Result<(), WireError> {
        self.live.outgoing.send(lines).map_err(|_| self.broken())
    }

    /// Waits for the next messages. Cancelling it loses nothing.
    pub async fn receive(&mut self) -> Result<Mail, WireError> {
        match self.mail.recv().await {
            Some(letter) => letter.map_err(WireError::Refused),
            None => Err(self.broken()),
        }
    }

    fn broken(&self) -> WireError {
        let source = std::io::ErrorKind::ConnectionAborted.into();
        WireError::Io { address: self.live.address.clone(), source }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.live.mailboxes().remove(&self.sid);
        // A connection that is gone knows nothing of it.
        drop(self.live.outgoing.send(format!("UNSUB {}\r\n", self.sid)));
    }
}

fn begin(connection: Connection) -> Arc<Live> {
    let max_payload = connection.max_payload;
    let (incoming, mut socket) = connection.split();
    let (outgoing, mut lines) = unbounded_channel::<String>();
    let live = Arc::new(Live {
        address: incoming.address().into(),
        max_payload,
        outgoing,
        mailboxes: Mutex::default(),
        ended: CancellationToken::new(),
    });
    let ended = live.ended.clone();
    let (reading, writing) = (Arc::clone(&live), live.ended.clone());
    tokio::spawn(async move {
        if let Some(Err(error)) = ended.run_until_cancelled(read(&reading, incoming)).await {
            tracing::debug!("the readers' connection ended: {}", cim_runtime::error::chain(&error));
        }
        ended.cancel();
        // Their other ends see that nothing comes any more.
        reading.mailboxes().clear();
    });
    tokio::spawn(async move {
        let write = async {
            while let Some(mut text) = lines.recv().await {
                while let Ok(more) = lines.try_recv() {
                    text.push_str(&more);
                }
                socket.write_all(text.as_bytes()).await?;
                socket.flush().await?;
            }
            Ok::<_, std::io::Error>(())
        };
        if let Some(Err(error)) = writing.run_until_cancelled(write).await {
            tracing::debug!("the readers' connection broke: {error}");
        }
        writing.cancel();
    });
    live
}

/// Hands out what comes until the connection ends.
async fn read(live: &Live, mut incoming: Incoming) -> Result<(), WireError> {
    let mut asked = false;
    loop {
        let used = dispatch(live, incoming.bytes())?;
        incoming.consume(used);
        match tokio::time::timeout(QUIET, incoming.fill()).await {
            Ok(filled) => {
                filled?;
                asked = false;
            }
            Err(_) if asked => {
                let source = std::io::ErrorKind::TimedOut.into();
                return Err(WireError::Io { address: live.address.clone(), source });
            }
            Err(_) => {
                asked = true;
                // Where writing is over this task is, too.
                drop(live.outgoing.send("PING\r\n".into()));
            }
        }
    }
}

/// Puts every whole operation into its mailbox; returns how many bytes that were.
fn dispatch(live: &Live, bytes: &[u8]) -> Result<usize, WireError> {
    let mut run = Run { sid: 0, from: 0, messages: 0 };
    let mut at = 0;
    while let Some((op, used)) = parse(&bytes[at..])? {
        if let Op::Msg { sid, .. } = op {
            let sid = std::str::from_utf8(sid).ok().and_then(|sid| sid.parse().ok());
            let sid = sid.unwrap_or_default();
            if sid != run.sid {
                run.deliver(live, &bytes[..at]);
                run = Run { sid, from: at, messages: 0 };
            }
            run.messages += 1;
        } else {
            run.deliver(live, &bytes[..at]);
            match op {
                // Where writing is over this task is, too.
                Op::Ping => drop(live.outgoing.send("PONG\r\n".into())),
                Op::Err(text) => deny(live, text)?,
                _ => {}
            }
            run = Run { sid: 0, from: at + used, messages: 0 };
        }
        at += used;
    }
    run.deliver(live, &bytes[..at]);
    Ok(at)
}

/// Operations in a row for one subscription; 0 is none.
struct Run {
    sid: u64,
    from: usize,
    messages: usize,
}

impl Run {
    fn deliver(&self, live: &Live, until: &[u8]) {
        if self.messages == 0 {
            return;
        }
        // One that has just gone does not want it any more.
        if let Some(mailbox) = live.mailboxes().get(&self.sid) {
            let mail = Mail { bytes: until[self.from..].to_vec(), messages: self.messages };
            drop(mailbox.letters.send(Ok(mail)));
        }
    }
}

/// Tells a reader what it may not do; anything else that a server refuses ends the connection.
fn deny(live: &Live, text: &[u8]) -> Result<(), WireError> {
    let error = refused(text);
    let said = String::from_utf8_lossy(text);
    if !is_denial(&said) {
        return Err(error);
    }
    for mailbox in live.mailboxes().values() {
        if said.contains(&mailbox.inbox) || said.contains(&format!("\"{}\"", mailbox.asks)) {
            drop(mailbox.letters.send(Err(said.trim_matches('\'').to_owned())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> (Live, UnboundedReceiver<String>) {
        let (outgoing, lines) = unbounded_channel();
        let live = Live {
            address: "here".into(),
            max_payload: 1,
            outgoing,
            mailboxes: Mutex::default(),
            ended: CancellationToken::new(),
        };
        (live, lines)
    }

    fn mailbox(live: &Live, sid: u64) -> UnboundedReceiver<Letter> {
        let (letters, mail) = unbounded_channel();
        let mailbox = Mailbox { letters, inbox: format!("in{sid}"), asks: format!("ask{sid}") };
        live.mailboxes().insert(sid, mailbox);
        mail
    }

    fn all(mail: &mut UnboundedReceiver<Letter>) -> Vec<(String, usize)> {
        let mut letters = Vec::new();
        while let Ok(Ok(Mail { bytes, messages })) = mail.try_recv() {
            letters.push((String::from_utf8(bytes).unwrap(), messages));
        }
        letters
    }

    #[test]
    fn each_reader_gets_its_own_and_what_is_cut_waits() {
        let (live, mut lines) = live();
        let (mut one, mut two) = (mailbox(&live, 1), mailbox(&live, 2));
        let text = "MSG a 1 1\r\nx\r\nMSG b 1 1\r\ny\r\nPING\r\nMSG c 2 1\r\nz\r\nMSG gone 7 0\r\n\r\nMSG d 1 3\r\nxy";
        let used = dispatch(&live, text.as_bytes()).unwrap();
        assert_eq!(&text[used..], "MSG d 1 3\r\nxy");
        assert_eq!(all(&mut one), [("MSG a 1 1\r\nx\r\nMSG b 1 1\r\ny\r\n".to_owned(), 2)]);
        assert_eq!(all(&mut two), [("MSG c 2 1\r\nz\r\n".to_owned(), 1)]);
        assert_eq!(lines.try_recv().unwrap(), "PONG\r\n");
    }

    #[test]
    fn a_refusal_reaches_the_one_that_asked() {
        let (live, _lines) = live();
        let (mut one, mut eleven) = (mailbox(&live, 1), mailbox(&live, 11));
        let text = "-ERR 'Permissions Violation for Publish to \"ask1\"'\r\n";
        dispatch(&live, text.as_bytes()).unwrap();
        assert!(one.try_recv().unwrap().unwrap_err().contains("Publish"));
        assert!(eleven.try_recv().is_err());
        assert!(dispatch(&live, b"-ERR 'Stale Connection'\r\n").is_err());
    }
}
