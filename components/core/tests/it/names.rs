//! Names: round trips, refusals, and subject filters against a naive reference.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::str::FromStr;

use cim_core::names::{
    AggregateId, BucketName, ConsumerName, ContentId, Endpoint, EventType, FilePath, InterfaceName,
    JournalName, MemorySize, NameError, NatsUrl, NodeName, ObjectKey, Problem, Region, Span,
    SshKey, StoreName, StreamName, Subject, SubjectFilter, Token, UserKey,
};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::support::Schema;

/// Reports whether a text is accepted, and panics unless all ways of reading agree.
fn accepted<T>(schema: &Schema, text: &str) -> bool
where
    T: FromStr<Err = NameError> + DeserializeOwned + Serialize + Display + AsRef<str>,
    T: TryFrom<String, Error = NameError> + Into<String> + Eq + Debug,
{
    let json = serde_json::to_value(text).unwrap();
    match text.parse::<T>() {
        Ok(name) => {
            assert_eq!(name.as_ref(), text);
            assert_eq!(name.to_string(), text);
            assert_eq!(T::try_from(text.to_owned()).as_ref(), Ok(&name));
            assert_eq!(serde_json::to_value(&name).unwrap(), json);
            assert_eq!(schema.refusal(&json), None);
            assert_eq!(serde_json::from_value::<T>(json).unwrap(), name);
            assert_eq!(name.into(), text);
            true
        }
        Err(error) => {
            let message = error.to_string();
            assert!(!message.contains(char::is_control), "{message:?}");
            assert!(message.chars().count() < 800, "{message}");
            assert_eq!(serde_json::from_value::<T>(json).unwrap_err().to_string(), message);
            false
        }
    }
}

/// Draws text that is a name about half of the time.
fn nearly_a_name() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z0-9.*> _/\\-]{0,12}",
        "[a-z*>.]{0,8}",
        "[a-z]{1,4}([.-][a-z0-9]{1,4}){0,3}",
        "[0-9]{1,3}(\\.[0-9]{1,3}){3}",
        "[a-z0-9]{50,70}",
        "[\\PC\t\n\r\x0c\x0b\x00]{0,6}",
        "b[a-z2-7]{0,60}",
        "U[A-Z2-7]{54,56}",
        "(https?|tls|nats)://[a-z0-9.-]{0,5}(:[0-9]{0,6})?",
        "[0-9]{0,11}(ms|s|m|h|M|G)?",
        "(/[a-z.]{0,3}){0,3}",
        "(ssh-rsa|ssh-ed25519) [A-Za-z0-9+/]{0,4}={0,3}( [ -~]{0,4})?",
        any::<Vec<u8>>().prop_map(|bytes| ContentId::of(&bytes).to_string()),
    ]
}

macro_rules! round_trips {
    ($($test:ident: $name:ty;)*) => {$(
        #[test]
        fn $test() {
            let schema = Schema::of::<$name>();
            proptest!(|(text in nearly_a_name())| {
                accepted::<$name>(&schema, &text);
            });
            let longest = <$name>::MAX_LEN;
            let (fits, over) = ("a".repeat(longest), "a".repeat(longest + 1));
            accepted::<$name>(&schema, &fits);
            assert_eq!(
                *over.parse::<$name>().unwrap_err().problem(),
                Problem::TooLong { len: longest + 1, max: longest },
            );
            assert_eq!(*"".parse::<$name>().unwrap_err().problem(), Problem::Empty);
        }
    )*};
}

round_trips! {
    stream_names_round_trip: StreamName;
    consumer_names_round_trip: ConsumerName;
    subjects_round_trip: Subject;
    subject_filters_round_trip: SubjectFilter;
    bucket_names_round_trip: BucketName;
    object_keys_round_trip: ObjectKey;
    node_names_round_trip: NodeName;
    journal_names_round_trip: JournalName;
    tokens_round_trip: Token;
    event_types_round_trip: EventType;
    aggregate_ids_round_trip: AggregateId;
    content_ids_round_trip: ContentId;
    store_names_round_trip: StoreName;
    nats_urls_round_trip: NatsUrl;
    endpoints_round_trip: Endpoint;
    regions_round_trip: Region;
    spans_round_trip: Span;
    memory_sizes_round_trip: MemorySize;
    file_paths_round_trip: FilePath;
    ssh_keys_round_trip: SshKey;
    interface_names_round_trip: InterfaceName;
    user_keys_round_trip: UserKey;
}

/// Checks that the type and its schema accept the good texts and refuse the bad ones.
fn sort<T>(good: &[&str], bad: &[&str])
where
    T: FromStr<Err = NameError> + DeserializeOwned + Serialize + Display + AsRef<str>,
    T: TryFrom<String, Error = NameError> + Into<String> + Eq + Debug + schemars::JsonSchema,
{
    let schema = Schema::of::<T>();
    for text in good {
        assert!(accepted::<T>(&schema, text), "{text:?} was refused");
    }
    for text in bad {
        assert!(!accepted::<T>(&schema, text), "{text:?} was accepted");
    }
}

/// Checks the answers of nats-server 2.15.2 and 2.9.10 to requests for streams of these names.
#[test]
fn streams_are_named_as_the_server_allows() {
    let longest = "N".repeat(255);
    let (umlauts, too_many) = ("ü".repeat(127), "ü".repeat(128));
    let good = [
        "orders",
        "KV_settings",
        "OBJ_files",
        "$KV",
        "Käse",
        "%2F",
        "a\"b",
        "q'",
        "con:1",
        "A\u{1}B",
        "C\u{7f}",
        "T\u{b}V",
        "x\u{a0}y",
        "n\0l",
        "e\u{2028}f",
        &longest,
        &umlauts,
    ];
    let bad =
        ["", "a b", "a\tb", "a\nb", "a\rb", "a\u{c}b", "a.b", "a*", ">", "a/b", "a\\b", &too_many];
    sort::<StreamName>(&good, &bad);
    sort::<ConsumerName>(&[&good[..], &[&too_many]].concat(), &bad[..bad.len() - 1]);
}

#[test]
fn subjects_are_what_the_server_checks() {
    let good = ["a", "a.b", "$JS.API.INFO", "a*b", "a.>x", "a.b>", "**", "ü.\u{1}", "a.\0"];
    let bad = ["", ".", "a.", ".a", "a..b", "a b", "a.\t", "a\n", "a\r", "a.\u{c}b"];
    let wild = ["*", ">", "a.*", "*.a", "a.*.b", "a.>", "*.*.>"];
    sort::<Subject>(&good, &[&bad[..], &wild, &[">.a", "a.>.b"]].concat());
    sort::<SubjectFilter>(&[&good[..], &wild].concat(), &[&bad[..], &[">.a", "a.>.b"]].concat());
}

#[test]
fn buckets_and_keys_are_what_s3_allows() {
    let longest = "b".repeat(63);
    sort::<BucketName>(
        &["cim", "a.b.c", "a-b", "1-2.3", "xn--a", "1.2.3", "1.2.3.4.5", "256.1.1.1", &longest],
        &["", "ab", "Cim", "a_b", "-ab", "ab-", ".ab", "ab.", "a..b", "a.-b", "a-.b", "10.0.0.1"],
    );
    let longest = "ü".repeat(512);
    let over = format!("{longest}x");
    sort::<ObjectKey>(&["a", "/", "a//b", "../x", " ", "\n", "ü\0", &longest], &["", &over]);
}

#[test]
fn nodes_tokens_and_event_types_have_one_spelling() {
    sort::<NodeName>(
        &["host", "nas-1", "0", "a--b"],
        &["", "Host", "nas_1", "-a", "a-", "a.b", "ä", "a b"],
    );
    let longest = "J".repeat(63);
    sort::<JournalName>(
        &["main", "a_b-1", "-", "_", "0", "A", &longest],
        &["", "a.b", "a/b", "a b", "ä", "a~20", "a\n", "a*", ".."],
    );
    sort::<Token>(&["unit", "status_changed", "a1_"], &["", "_a", "1a", "Unit", "a-b", "a.b", "*"]);
    sort::<EventType>(
        &["unit.created", "connector.status_changed"],
        &["", "unit", "unit.", ".created", "a.b.c", "unit.Created", "unit.*", "1.a", "unit. x"],
    );
}

#[test]
fn what_machines_and_services_are_told() {
    sort::<StoreName>(&["EVENTS", "a_b-1"], &["", "a.b", "a b", "ü", "$KV"]);
    sort::<InterfaceName>(&["br-cim", "a"], &["", "1a", "a-name-that-is-long", "br_cim", "Br"]);
    sort::<MemorySize>(&["512M", "1K", "10T"], &["", "512", "0M", "M", "1.5G", "-1M", "1GiB"]);
    sort::<Span>(
        &["500ms", "2m", "720h", "999999999h"],
        &["", "2", "m", "0s", "01s", "2 m", "1d", "1000000000s"],
    );
    sort::<FilePath>(
        &["/a", "/var/lib/cim-secrets/nats.key", "/.x/_y"],
        &["", "/", "a", "./a", "/a/", "//a", "/a b", "/a\"b", "/ä"],
    );
    sort::<Endpoint>(
        &["http://nas:9000", "https://s3.eu-central-1.wasabisys.com", "http://127.0.0.1:1"],
        &[
            "",
            "nas:9000",
            "ftp://nas",
            "http://",
            "http://nas/",
            "http://nas:0",
            "http://nas:x",
            "http://-nas",
            "http://Nas",
            "http://nas:70000",
            "http://nas:+1",
            "https://[::1]:9000",
        ],
    );
    sort::<NatsUrl>(
        &["tls://hub.example.com:7422", "nats://10.0.0.1:1"],
        &["", "tls://hub", "http://hub:1", "tls://hub:1/x", "hub:7422", "tls://a b:1"],
    );
    sort::<Region>(&["us-east-1", "r"], &["", "US", "a_b", "a b"]);
    sort::<SshKey>(
        &["ssh-ed25519 AAAAC3Nza", "ssh-rsa AAAAB3Nza== me@desk at home"],
        &[
            "",
            "ssh-dss AAAAB3Nza",
            "ssh-ed25519",
            "ssh-ed25519 AAAA===",
            "ssh-ed25519 AAAAC3 ",
            "ssh-ed25519 AAAAC3\nssh-rsa AAAA",
            "no-pty ssh-ed25519 AAAAC3",
        ],
    );
    let spans = ["250ms", "90s", "2m", "1h"].map(|s| Span::new(s).unwrap().duration().as_millis());
    assert_eq!(spans, [250, 90_000, 120_000, 3_600_000]);
}

#[test]
fn an_event_type_comes_apart_and_together() {
    let event = EventType::new("connector.status_changed").unwrap();
    assert_eq!(event.resource().as_str(), "connector");
    assert_eq!(event.action().as_str(), "status_changed");
    assert_eq!(EventType::of(&event.resource(), &event.action()), event);
}

#[test]
fn an_error_names_the_value_the_problem_and_the_rule() {
    let errors = [
        StreamName::new("orders.eu").unwrap_err(),
        EventType::new("unit.created at").unwrap_err(),
        BucketName::new("10.0.0.1").unwrap_err(),
        NodeName::new("x\n".repeat(1_000)).unwrap_err(),
        Subject::new("a.>\u{1b}[31m\t").unwrap_err(),
        Subject::new("a.>").unwrap_err(),
        Token::new("").unwrap_err(),
    ];
    let lines: Vec<_> = errors.iter().map(NameError::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    stream name `orders.eu` has `.` at byte 6: a stream name is 1 to 255 bytes without spaces, tabs, line ends, `.`, `*`, `>`, `/` or `\`
    event type `unit.created at` has ` ` at byte 12: an event type is `<resource>.<action>`, each 1 to 63 lowercase letters, digits and `_` that begin with a letter
    bucket name `10.0.0.1` is an IPv4 address: a bucket name is 3 to 63 lowercase letters, digits, `-` and `.`, and not an IPv4 address; each part between dots begins and ends with a letter or digit
    node name `x\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\n…` has 2000 bytes, more than 63: a node name is 1 to 63 lowercase letters, digits and `-`, and begins and ends with a letter or digit
    subject `a.>\u{1b}[31m\t` has `\t` at byte 8: a subject is 1 to 65535 bytes of non-empty tokens between `.`, without spaces, tabs, line ends or wildcards
    subject `a.>` has a wildcard: a subject is 1 to 65535 bytes of non-empty tokens between `.`, without spaces, tabs, line ends or wildcards
    subject token `` is empty: a subject token is 1 to 63 lowercase letters, digits and `_`, and begins with a letter
    ");
}

#[test]
fn a_map_of_names_is_asked_with_a_str() {
    let streams = BTreeMap::from([(StreamName::new("orders").unwrap(), 1)]);
    assert_eq!(streams.get("orders"), Some(&1));
    let json = serde_json::to_string(&streams).unwrap();
    assert_eq!(json, r#"{"orders":1}"#);
    assert_eq!(serde_json::from_str::<BTreeMap<StreamName, i32>>(&json).unwrap(), streams);
    assert!(serde_json::from_str::<BTreeMap<StreamName, i32>>(r#"{"a.b":1}"#).is_err());
}

/// Reports whether a filter matches, by the definition and nothing clever.
fn naive(filter: &[&str], subject: &[&str]) -> bool {
    match (filter, subject) {
        ([], []) | ([">"], [_, ..]) => true,
        (["*", filter @ ..], [_, subject @ ..]) => naive(filter, subject),
        ([a, filter @ ..], [b, subject @ ..]) => a == b && naive(filter, subject),
        _ => false,
    }
}

/// Returns every subject of one to `longest` tokens, each of them `a` or `b`.
fn every_subject(longest: usize) -> Vec<Subject> {
    let mut all = vec!["a".to_owned(), "b".to_owned()];
    let mut last = all.clone();
    for _ in 1..longest {
        last = last.iter().flat_map(|s| [format!("{s}.a"), format!("{s}.b")]).collect();
        all.extend(last.iter().cloned());
    }
    all.into_iter().map(|subject| Subject::new(subject).unwrap()).collect()
}

fn few_tokens(token: &'static str) -> impl Strategy<Value = String> {
    prop::collection::vec(token, 1..6).prop_map(|tokens| tokens.join("."))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn filters_match_as_defined(
        filter in few_tokens("a|b|\\*|>|\\*a"),
        subject in few_tokens("a|b|\\*a|a>"),
    ) {
        let subject = Subject::new(subject).unwrap();
        let Ok(filter) = SubjectFilter::new(filter) else {
            return Ok(());
        };
        let (f, s): (Vec<_>, Vec<_>) = (filter.tokens().collect(), subject.tokens().collect());
        prop_assert_eq!(filter.matches(&subject), naive(&f, &s));
        prop_assert!(SubjectFilter::all().matches(&subject));
        prop_assert_eq!(
            SubjectFilter::from(subject.clone()).matches(&subject),
            SubjectFilter::from(subject.clone()).is_literal(),
        );
    }

    #[test]
    fn filters_overlap_when_one_subject_matches_both(
        a in prop::collection::vec("a|b|\\*|>", 1..4),
        b in prop::collection::vec("a|b|\\*|>", 1..4),
    ) {
        let (Ok(x), Ok(y)) = (SubjectFilter::new(a.join(".")), SubjectFilter::new(b.join("."))) else {
            return Ok(());
        };
        // Longer subjects, or ones of other tokens, match nothing that none of these matches.
        let both = every_subject(4).iter().any(|subject| x.matches(subject) && y.matches(subject));
        prop_assert_eq!(x.overlaps(&y), both);
        prop_assert_eq!(y.overlaps(&x), both);
    }

    #[test]
    fn any_stored_subject_can_be_matched(
        filter in few_tokens("[a-c]|\\*|>"),
        stored in prop_oneof![
            any::<Vec<u8>>(),
            few_tokens("[a-c*>\t]{0,2}").prop_map(String::into_bytes),
        ],
    ) {
        let Ok(filter) = SubjectFilter::new(filter) else {
            return Ok(());
        };
        let matched = filter.matches_bytes(&stored);
        let tokens: Vec<&[u8]> = stored.split(|&b| b == b'.').collect();
        if tokens.iter().any(|token| token.is_empty()) {
            prop_assert!(!matched);
        } else if let Ok(text) = std::str::from_utf8(&stored) {
            let (f, s): (Vec<_>, Vec<_>) = (filter.tokens().collect(), text.split('.').collect());
            prop_assert_eq!(matched, naive(&f, &s));
        }
    }
}
