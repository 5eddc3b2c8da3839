//! The envelope: its invariants, and that nothing is lost by reading and writing.

use std::num::NonZeroU32;

use cim_core::archive::RawJson;
use cim_core::envelope::{Content, Envelope, EventId, NewEvent};
use cim_core::names::{AggregateId, ContentId, EventType};
use cim_core::subjects::Component;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::Schema;

fn id() -> impl Strategy<Value = EventId> {
    any::<(u64, [u8; 10])>().prop_map(|(millis, random)| EventId::from_parts(millis, &random))
}

/// Draws any time that JetStream can hold.
fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(|nanos| Timestamp::from_nanosecond(nanos.into()).unwrap())
}

fn content() -> impl Strategy<Value = Option<Content>> {
    let id = || any::<[u8; 4]>().prop_map(|bytes| ContentId::of(&bytes));
    prop::option::of(
        (id(), prop::option::of(id())).prop_map(|(id, previous)| Content { id, previous }),
    )
}

/// Draws JSON texts, including numbers and spaces that a parsed value would not return unchanged.
fn payload() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1.0".to_owned()),
        Just("-0".to_owned()),
        Just("1e400".to_owned()),
        Just("340282366920938463463374607431768211456".to_owned()),
        any::<f64>()
            .prop_filter_map("JSON has no NaN", |n| { n.is_finite().then(|| n.to_string()) }),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just(r#""\u00fc\/""#.to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(" ,\n"))),
            prop::collection::vec(("[a-z]{0,3}", inner), 0..4).prop_map(|fields| {
                let fields: Vec<_> =
                    fields.iter().map(|(name, value)| format!("\"{name}\" :{value}")).collect();
                format!("{{ {} }}", fields.join(", "))
            }),
        ]
    })
}

prop_compose! {
    fn new_event()(
        resource in "[a-z]{1,8}",
        action in "[a-z_]{0,8}",
        source in prop::sample::select(Component::ALL.to_vec()),
        aggregate in "\\PC{1,40}",
        aggregate_version in any::<u64>(),
        schema_version in 1..=u32::MAX,
        content in content(),
        payload in payload(),
    ) -> NewEvent {
        NewEvent {
            event_type: EventType::new(format!("{resource}.x{action}")).unwrap(),
            source,
            aggregate_id: AggregateId::new(aggregate).unwrap(),
            aggregate_version,
            schema_version: NonZeroU32::new(schema_version).unwrap(),
            content,
            payload: RawJson::new(payload).unwrap(),
        }
    }
}

fn event() -> NewEvent {
    NewEvent {
        event_type: EventType::new("object.stored").unwrap(),
        source: Component::StorageManager,
        aggregate_id: AggregateId::new("photos/1.jpg").unwrap(),
        aggregate_version: 1,
        schema_version: NonZeroU32::MIN,
        content: None,
        payload: RawJson::new("{}".to_owned()).unwrap(),
    }
}

fn fixed(n: u8) -> EventId {
    EventId::from_parts(1_700_000_000_000 + u64::from(n), &[n; 10])
}

fn document() -> Value {
    let time = "2026-11-23T15:30:00.123456789Z".parse().unwrap();
    serde_json::to_value(Envelope::root(fixed(1), time, event())).unwrap()
}

fn read(document: &Value) -> serde_json::Result<Envelope> {
    serde_json::from_str(&document.to_string())
}

proptest! {
    #[test]
    fn envelopes_round_trip(
        ids in (id(), id()), times in (time(), time()), events in (new_event(), new_event()),
        compact in any::<bool>(),
    ) {
        let root = Envelope::root(ids.0, times.0, events.0.clone());
        let child = root.child(ids.1, times.1, events.1);
        for written in [&root, &child] {
            let text = if compact {
                serde_json::to_string(written).unwrap()
            } else {
                serde_json::to_string_pretty(written).unwrap()
            };
            let back: Envelope = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&back, written);
            prop_assert_eq!(back.payload.get(), written.payload.get());
            prop_assert_eq!(back.time.as_nanosecond(), written.time.as_nanosecond());
        }
        prop_assert_eq!(root.payload.get(), events.0.payload.get());
    }

    #[test]
    fn a_child_continues_its_parents_conversation(ids in (id(), id(), id()), time in time()) {
        prop_assume!(ids.0 != ids.1 && ids.1 != ids.2 && ids.0 != ids.2);
        let root = Envelope::root(ids.0, time, event());
        prop_assert!(root.is_root());
        prop_assert_eq!((root.correlation_id, root.causation_id), (ids.0, ids.0));
        let child = root.child(ids.1, time, event());
        let grandchild = child.child(ids.2, time, event());
        prop_assert!(!child.is_root() && !grandchild.is_root());
        prop_assert_eq!((child.correlation_id, child.causation_id), (ids.0, ids.0));
        prop_assert_eq!((grandchild.correlation_id, grandchild.causation_id), (ids.0, ids.1));
    }

    #[test]
    fn what_is_written_fits_the_schema(
        ids in (id(), id()), time in time(), events in (new_event(), new_event()),
    ) {
        let schema = Schema::of::<Envelope>();
        let root = Envelope::root(ids.0, time, events.0);
        let child = root.child(ids.1, time, events.1);
        for event in [root, child] {
            let mut event = event;
            // The validator parses numbers into 64 bits, which payloads need not fit.
            event.payload = RawJson::new("[]".to_owned()).unwrap();
            prop_assert_eq!(schema.refusal(&serde_json::to_value(&event).unwrap()), None);
        }
    }

    #[test]
    fn any_text_is_refused_or_read(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        let _ = serde_json::from_str::<Envelope>(&text);
        let _ = serde_json::from_slice::<Envelope>(&bytes);
        let _ = text.parse::<EventId>();
    }

    #[test]
    fn any_value_in_any_field_is_refused_or_reads_back(
        field in prop::sample::select(vec![
            "id", "type", "source", "aggregate_id", "aggregate_version", "time", "correlation_id",
            "causation_id", "schema_version", "content_id", "previous_content_id",
        ]),
        value in prop_oneof![
            Just(json!(null)),
            any::<u64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            id().prop_map(|id| id.to_string().into()),
            time().prop_map(|time| time.to_string().into()),
            any::<[u8; 2]>().prop_map(|bytes| ContentId::of(&bytes).to_string().into()),
        ],
    ) {
        let schema = Schema::of::<Envelope>();
        let mut document = document();
        document[field] = value;
        if let Ok(event) = read(&document) {
            prop_assert_eq!(schema.refusal(&document), None);
            prop_assert_eq!(read(&serde_json::to_value(&event).unwrap()).unwrap(), event);
        }
    }

    #[test]
    fn event_ids_round_trip_and_sort_by_time(a in 0_u64..1 << 48, b in 0_u64..1 << 48) {
        let ids = (EventId::from_parts(a, &[0xff; 10]), EventId::from_parts(b, &[0; 10]));
        if a < b {
            prop_assert!(ids.0 < ids.1 && ids.0.to_string() < ids.1.to_string());
        }
        prop_assert_eq!(ids.0.to_string().parse(), Ok(ids.0));
    }
}

#[test]
fn the_stored_form_is_as_documented() {
    let time = "2026-11-23T16:30:00.000000001+01:00".parse().unwrap();
    let root = Envelope::root(fixed(1), time, event());
    let mut update = event();
    update.aggregate_version = 2;
    update.content =
        Some(Content { id: ContentId::of(b"two"), previous: Some(ContentId::of(b"one")) });
    update.payload = RawJson::new(r#"{"z": 1.0, "a":[ 1e3 ]}"#.to_owned()).unwrap();
    let child = root.child(fixed(2), time, update);
    insta::assert_snapshot!(serde_json::to_string(&root).unwrap(), @r#"{"id":"018bcfe5-6801-7101-8101-010101010101","type":"object.stored","source":"storage","aggregate_id":"photos/1.jpg","aggregate_version":1,"time":"2026-11-23T15:30:00.000000001Z","correlation_id":"018bcfe5-6801-7101-8101-010101010101","causation_id":"018bcfe5-6801-7101-8101-010101010101","schema_version":1,"payload":{}}"#);
    insta::assert_snapshot!(serde_json::to_string(&child).unwrap(), @r#"{"id":"018bcfe5-6802-7202-8202-020202020202","type":"object.stored","source":"storage","aggregate_id":"photos/1.jpg","aggregate_version":2,"time":"2026-11-23T15:30:00.000000001Z","correlation_id":"018bcfe5-6801-7101-8101-010101010101","causation_id":"018bcfe5-6801-7101-8101-010101010101","schema_version":1,"content_id":"bafkreib7ytgp45cyodrmbwm7ohzq74dfnsg63va4yhl5hu3wwdn6nbpc6m","previous_content_id":"bafkreidwslb22nkaxoadyaqlhlxgntmiq4jdenhkbrxhcq6avxlt75br5u","payload":{"z": 1.0, "a":[ 1e3 ]}}"#);
}

#[test]
fn the_message_id_is_the_events_id_whenever_it_is_published() {
    let root = Envelope::root(fixed(1), Timestamp::UNIX_EPOCH, event());
    let again: Envelope = serde_json::from_str(&serde_json::to_string(&root).unwrap()).unwrap();
    assert_eq!(root.msg_id(), ("Nats-Msg-Id", root.id.to_string()));
    assert_eq!(again.msg_id(), root.msg_id());
    assert_eq!(root.subject().to_string(), "cim.event.storage.object.stored");
}

#[test]
fn a_null_or_missing_causation_is_read_as_a_root() {
    let original = read(&document()).unwrap();
    for (causation, correlation) in [
        (Some(json!(null)), Some(json!(null))),
        (Some(json!(null)), None),
        (None, Some(json!(original.id))),
        (Some(json!(original.id)), None),
        (None, None),
    ] {
        let mut document = document();
        let fields = document.as_object_mut().unwrap();
        for (name, value) in [("causation_id", causation), ("correlation_id", correlation)] {
            fields.remove(name);
            fields.extend(value.map(|value| (name.to_owned(), value)));
        }
        let event = read(&document).unwrap();
        assert_eq!(event, original, "{document}");
    }
}

#[test]
fn a_root_within_a_conversation_keeps_its_correlation() {
    let mut document = document();
    document["causation_id"] = json!(null);
    document["correlation_id"] = json!(fixed(9));
    let event = read(&document).unwrap();
    assert!(event.is_root());
    assert_eq!(event.correlation_id, fixed(9));
}

#[test]
fn unknown_fields_are_kept_to_the_letter() {
    let text = document().to_string().replacen('{', r#"{"tenant": {"b":1.0,"a":[ 1e400 ]},"#, 1);
    let event: Envelope = serde_json::from_str(&text).unwrap();
    assert_eq!(event.unknown_fields()["tenant"].get(), r#"{"b":1.0,"a":[ 1e400 ]}"#);
    let written = serde_json::to_string(&event).unwrap();
    assert!(written.contains(r#""tenant":{"b":1.0,"a":[ 1e400 ]}"#), "{written}");
    assert_eq!(serde_json::from_str::<Envelope>(&written).unwrap(), event);
}

#[test]
fn a_refusal_names_the_field() {
    let refusal = |field: &str, value: Value| {
        let mut document = document();
        document[field] = value;
        read(&document).unwrap_err().to_string()
    };
    for (field, value) in [
        ("id", json!("0b5ed5c4-9d0f-4c44-8d7c-3e0a4b8e6f11")),
        ("type", json!("ObjectStored")),
        ("source", json!("people")),
        ("aggregate_version", json!(-1)),
        ("schema_version", json!(0)),
        ("time", json!("yesterday")),
        ("content_id", json!("Qm")),
    ] {
        let message = refusal(field, value);
        assert!(message.contains(&format!("`{field}`")), "{message}");
    }
    let mut cut = document();
    cut["correlation_id"] = json!(null);
    cut["causation_id"] = json!(fixed(7));
    assert!(read(&cut).unwrap_err().to_string().contains("`correlation_id` is missing"));
    let previous = json!(ContentId::of(b"one"));
    assert!(refusal("previous_content_id", previous).contains("`content_id` is missing"));
    let mut bare = document();
    bare.as_object_mut().unwrap().remove("payload");
    assert!(read(&bare).unwrap_err().to_string().contains("missing field `payload`"));
    let twice = document().to_string().replacen('{', r#"{"source":"iu","#, 1);
    let error = serde_json::from_str::<Envelope>(&twice).unwrap_err().to_string();
    assert!(error.contains("field `source` appears twice"), "{error}");
}

#[test]
fn event_ids_have_one_spelling_and_one_version() {
    assert!(EventId::now() < EventId::now(), "ids of one process are in order");
    let id = EventId::from_parts(1_700_000_000_000, &[0xab; 10]);
    let text = id.to_string();
    assert_eq!(text, "018bcfe5-6800-7bab-abab-abababababab");
    assert_eq!(text.parse(), Ok(id));
    for refused in [
        &text.to_uppercase(),
        &text.replace('-', ""),
        &format!("{{{text}}}"),
        &format!("urn:uuid:{text}"),
        "018bcfe5-6800-4bab-abab-abababababab",
        "018bcfe5-6800-7bab-cbab-abababababab",
        "",
    ] {
        assert!(refused.parse::<EventId>().is_err(), "`{refused}` was accepted");
    }
}
