//! CIM's subjects: building and parsing are inverse, and nothing panics.

use cim_core::names::{EventType, Subject, Token};
use cim_core::subjects::vocabulary::VOCABULARY;
use cim_core::subjects::{CimSubject, Component, SubjectError, SubjectKind};
use proptest::prelude::*;

fn token() -> impl Strategy<Value = Token> {
    "[a-z][a-z0-9_]{0,20}".prop_map(|token| Token::new(token).unwrap())
}

fn subject() -> impl Strategy<Value = CimSubject> {
    let component = || prop::sample::select(Component::ALL.to_vec());
    prop_oneof![
        (component(), token(), token()).prop_map(|(of, resource, action)| CimSubject::event(
            of,
            EventType::of(&resource, &action)
        )),
        (component(), token(), token())
            .prop_map(|(of, resource, operation)| CimSubject::service(of, resource, operation)),
        (component(), token()).prop_map(|(of, operation)| CimSubject::command(of, operation)),
    ]
}

proptest! {
    #[test]
    fn subjects_round_trip(subject in subject()) {
        let published = subject.to_subject();
        prop_assert_eq!(CimSubject::try_from(&published), Ok(subject.clone()));
        prop_assert_eq!(published.as_str(), subject.to_string());
        for kind in SubjectKind::ALL {
            prop_assert_eq!(kind.filter().matches(&published), kind == subject.kind());
            for component in Component::ALL {
                prop_assert_eq!(
                    kind.filter_of(component).matches(&published),
                    kind == subject.kind() && component == subject.component(),
                );
            }
        }
    }

    #[test]
    fn any_text_is_refused_or_reads_back(
        text in prop_oneof![
            any::<String>(),
            "cim\\.(event|service|cmd|other)(\\.(iu|ui|storage|[a-z*>A-Z ]{0,3})){0,5}",
        ],
    ) {
        match text.parse::<CimSubject>() {
            Ok(subject) => prop_assert_eq!(subject.to_string(), text),
            Err(error) => prop_assert!(!error.to_string().contains(char::is_control)),
        }
    }
}

#[test]
fn subjects_are_spelled_as_documented() {
    let stored =
        CimSubject::event(Component::StorageManager, EventType::new("object.stored").unwrap());
    assert_eq!(stored.to_string(), "cim.event.storage.object.stored");
    let get = CimSubject::service(
        Component::InformationUnits,
        Token::new("unit").unwrap(),
        Token::new("get").unwrap(),
    );
    assert_eq!(get.to_string(), "cim.service.iu.unit.get");
    let verify =
        CimSubject::command(Component::StorageManager, Token::new("verify_integrity").unwrap());
    assert_eq!(Subject::from(&verify).as_str(), "cim.cmd.storage.verify_integrity");
}

#[test]
fn a_refusal_says_what_is_wrong() {
    let refused = |text: &str| text.parse::<CimSubject>().unwrap_err();
    assert!(matches!(refused("orders.new"), SubjectError::Prefix(_)));
    assert!(matches!(refused("cim.eventful.iu.a.b"), SubjectError::Prefix(_)));
    assert!(matches!(refused("cim.event.iu.created"), SubjectError::Form { .. }));
    assert!(matches!(refused("cim.cmd.iu.unit.created"), SubjectError::Form { .. }));
    assert!(matches!(refused("cim.event.people.person.created"), SubjectError::Component { .. }));
    assert!(matches!(refused("cim.event.iu.unit.Created"), SubjectError::Token { .. }));
    assert!(matches!(refused("cim.event.iu.*.>"), SubjectError::Token { .. }));
}

#[test]
fn the_vocabulary_says_what_a_component_emits() {
    for words in &VOCABULARY {
        for event in words.events {
            assert!(words.component.emits(&EventType::new(*event).unwrap()), "{event}");
        }
    }
    let created = EventType::new("unit.created").unwrap();
    assert!(!Component::StorageManager.emits(&created));
}

#[test]
fn a_component_is_its_token_in_json() {
    for component in Component::ALL {
        let json = serde_json::to_value(component).unwrap();
        assert_eq!(json, component.token());
        assert_eq!(serde_json::from_value::<Component>(json).unwrap(), component);
        assert_eq!(component.to_string().parse(), Ok(component));
    }
    assert!("people".parse::<Component>().is_err());
}
