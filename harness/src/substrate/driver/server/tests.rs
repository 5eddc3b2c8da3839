use super::*;

fn listen(dir: &Path, patience: Duration) -> Arc<Driver> {
    Arc::new(Driver::listen(&dir.join("s"), patience).unwrap())
}

async fn talk(dir: &Path, say: &str) -> Hear {
    let mut stream = UnixStream::connect(dir.join("s")).await.unwrap();
    stream.write_all(format!("{say}\n").as_bytes()).await.unwrap();
    let line = BufReader::new(stream).lines().next_line().await.unwrap().unwrap();
    serde_json::from_str(&line).unwrap()
}

fn refused(heard: Hear) -> String {
    match heard {
        Hear::Refused(why) => why,
        other => panic!("{other:?} should be a refusal"),
    }
}

fn crash() -> Op {
    Op::Crash { node: cim_core::names::NodeName::new("host").unwrap() }
}

fn ask(driver: &Arc<Driver>, limit: Duration) -> JoinHandle<Result<Outcome>> {
    let driver = Arc::clone(driver);
    tokio::spawn(async move { driver.ask(crash(), limit).await })
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_request_is_handed_out_once_and_answered_once() {
    let dir = tempfile::tempdir().unwrap();
    let driver = listen(dir.path(), LONG);
    let asked = ask(&driver, LONG);
    let Hear::Request(request) = talk(dir.path(), "\"next\"").await else { panic!() };
    assert_eq!((request.id, &request.op), (1, &crash()));
    let why = refused(talk(dir.path(), "\"next\"").await);
    assert!(why.contains("request 1 is not answered yet"), "{why}");
    let why = refused(talk(dir.path(), r#"{"done":{"id":2}}"#).await);
    assert_eq!(why, "there was no request 2");
    let done = talk(dir.path(), r#"{"done":{"id":1,"result":{"status":3,"stdout":"x"}}}"#).await;
    assert!(matches!(done, Hear::Taken));
    let outcome = asked.await.unwrap().unwrap();
    assert_eq!((outcome.status, outcome.stdout.as_str()), (3, "x"));
    let why = refused(talk(dir.path(), r#"{"done":{"id":1}}"#).await);
    assert!(why.contains("answered already"), "{why}");
    let why = refused(talk(dir.path(), "gibberish").await);
    assert!(why.starts_with("not understood"), "{why}");
}

#[tokio::test]
async fn what_the_driver_could_not_do_fails_the_step_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let driver = listen(dir.path(), LONG);
    let asked = ask(&driver, LONG);
    talk(dir.path(), "\"next\"").await;
    talk(dir.path(), r#"{"done":{"id":1,"error":"no such machine"}}"#).await;
    let error = asked.await.unwrap().unwrap_err().to_string();
    assert!(error.ends_with("no such machine"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_never_asks_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let driver = listen(dir.path(), Duration::from_secs(5));
    let error = driver.ask(crash(), LONG).await.unwrap_err().to_string();
    assert!(error.contains("no driver has asked for request 1"), "{error}");
}

#[tokio::test]
async fn a_driver_that_never_answers_is_found_out_and_comes_too_late() {
    let dir = tempfile::tempdir().unwrap();
    let driver = listen(dir.path(), LONG);
    let asked = ask(&driver, Duration::ZERO);
    talk(dir.path(), "\"next\"").await;
    // The paused clock does not move while sockets work, so it is advanced by hand.
    tokio::time::pause();
    tokio::time::advance(GRACE + Duration::from_secs(1)).await;
    let error = asked.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("did not answer request 1"), "{error}");
    tokio::time::resume();
    let why = refused(talk(dir.path(), r#"{"done":{"id":1}}"#).await);
    assert!(why.contains("given up"), "{why}");
}

#[tokio::test]
async fn a_client_that_hung_up_has_not_taken_the_request() {
    let dir = tempfile::tempdir().unwrap();
    let driver = listen(dir.path(), LONG);
    let mut gone = UnixStream::connect(dir.path().join("s")).await.unwrap();
    gone.write_all(b"\"next\"\n").await.unwrap();
    drop(gone);
    // The one that hung up and the one that goes on are served in any order.
    let other = tokio::spawn({
        let dir = dir.path().to_owned();
        async move { talk(&dir, "\"next\"").await }
    });
    let asked = ask(&driver, LONG);
    let Hear::Request(request) = other.await.unwrap() else { panic!() };
    let done = talk(dir.path(), &format!(r#"{{"done":{{"id":{}}}}}"#, request.id)).await;
    assert!(matches!(done, Hear::Taken));
    asked.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_end_is_told_and_a_second_harness_refused() {
    let dir = tempfile::tempdir().unwrap();
    let driver = listen(dir.path(), LONG);
    let error = Driver::listen(&dir.path().join("s"), LONG).unwrap_err().to_string();
    assert!(error.starts_with("another harness listens"), "{error}");
    let ending = {
        let driver = Arc::clone(&driver);
        tokio::spawn(async move { driver.end("passed", 0, LONG).await })
    };
    let Hear::Request(request) = talk(dir.path(), "\"next\"").await else { panic!() };
    assert_eq!(request.op, Op::End { verdict: "passed".into(), exit: 0 });
    ending.await.unwrap();
}

#[tokio::test]
async fn a_line_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let driver = listen(dir.path(), LONG);
    let asked = ask(&driver, LONG);
    talk(dir.path(), "\"next\"").await;
    // Many times what a socket holds: the client reads the answer only after writing.
    for length in [LINE + 1, 8 * LINE] {
        let why = refused(talk(dir.path(), &"x".repeat(length)).await);
        assert_eq!(why, "a line has at most 1048576 bytes: send the end of long texts");
    }
    // A line without an end is answered too.
    let mut stream = UnixStream::connect(dir.path().join("s")).await.unwrap();
    stream.write_all(&vec![b' '; LINE + 1]).await.unwrap();
    let answer = BufReader::new(&mut stream).lines().next_line().await.unwrap().unwrap();
    assert!(answer.contains("at most 1048576 bytes"), "{answer}");
    // The longest texts that docs/driver.md allows, in the longest JSON that they can be.
    let text = "\\u0001".repeat(64 << 10);
    let result = format!(r#"{{"stdout":"{text}","stderr":"{text}"}}"#);
    let done = talk(dir.path(), &format!(r#"{{"done":{{"id":1,"result":{result}}}}}"#)).await;
    assert!(matches!(done, Hear::Taken), "{done:?}");
    assert_eq!(asked.await.unwrap().unwrap().stderr.len(), 64 << 10);
}

#[tokio::test]
async fn a_client_that_waits_for_a_request_says_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let _driver = listen(dir.path(), LONG);
    let why = refused(talk(dir.path(), "\"next\"\n\"next\"").await);
    assert_eq!(why, "a connection sends one message");
}
