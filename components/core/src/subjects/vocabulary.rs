//! The words of each component: the one list that write side and projectors share.

use super::Component;
use crate::names::EventType;

/// One component's words: the ends of its subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vocabulary {
    /// The component.
    pub component: Component,
    /// `<resource>.<action>` of each event that it emits.
    pub events: &'static [&'static str],
    /// `<resource>.<operation>` of each service that it answers.
    pub services: &'static [&'static str],
    /// Each operation that it takes as a command.
    pub commands: &'static [&'static str],
}

/// The words of every component, in the order of [`Component::ALL`].
pub static VOCABULARY: [Vocabulary; 7] = [
    Vocabulary {
        component: Component::InformationUnits,
        events: &["unit.created", "unit.updated", "unit.linked", "type.registered"],
        services: &[
            "unit.create",
            "unit.get",
            "unit.update",
            "unit.link",
            "unit.list",
            "unit.query",
            "type.register",
            "type.validate",
        ],
        commands: &["reload_types", "flush_cache"],
    },
    Vocabulary {
        component: Component::ComponentRegistry,
        events: &[
            "component.registered",
            "component.unregistered",
            "capability.added",
            "capability.removed",
        ],
        services: &[
            "component.register",
            "component.unregister",
            "component.heartbeat",
            "component.get",
            "component.list",
            "capability.query",
        ],
        commands: &["refresh", "purge_inactive"],
    },
    Vocabulary {
        component: Component::PipelineEngine,
        events: &[
            "execution.started",
            "execution.completed",
            "execution.failed",
            "stage.completed",
        ],
        services: &[
            "definition.create",
            "definition.update",
            "definition.get",
            "definition.list",
            "execution.start",
            "execution.stop",
            "execution.status",
        ],
        commands: &["reload_definitions", "abort_all"],
    },
    Vocabulary {
        component: Component::PluginSystem,
        events: &["plugin.installed", "plugin.enabled", "plugin.disabled", "plugin.failed"],
        services: &["plugin.install", "plugin.list", "plugin.invoke"],
        commands: &["reload"],
    },
    Vocabulary {
        component: Component::StorageManager,
        events: &["object.stored", "object.retrieved", "object.deleted", "tier.migrated"],
        services: &[
            "object.store",
            "object.retrieve",
            "object.delete",
            "object.exists",
            "object.list",
            "collection.create",
            "collection.list",
        ],
        commands: &["trigger_gc", "migrate_tier", "verify_integrity"],
    },
    Vocabulary {
        component: Component::UserInterface,
        events: &["session.started", "session.ended", "notification.created"],
        services: &[
            "view.render",
            "notification.send",
            "state.update",
            "action.execute",
            "session.authenticate",
        ],
        commands: &["invalidate_caches", "refresh_clients", "broadcast_message"],
    },
    Vocabulary {
        component: Component::IntegrationHub,
        events: &["connector.status_changed", "data.received", "data.sent", "sync.completed"],
        services: &[
            "connector.register",
            "connector.config",
            "connector.status",
            "data.transform",
            "data.validate",
            "data.send",
            "sync.start",
        ],
        commands: &["reload_connectors", "pause_all", "resume_all"],
    },
];

impl Component {
    /// Returns the component's words.
    pub fn vocabulary(self) -> &'static Vocabulary {
        &VOCABULARY[self as usize]
    }

    /// Reports whether the component's documents list this event among those that it emits.
    pub fn emits(self, event: &EventType) -> bool {
        self.vocabulary().events.contains(&event.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Token;
    use crate::subjects::CimSubject;

    #[test]
    fn every_component_has_its_words_once() {
        for (component, words) in Component::ALL.into_iter().zip(&VOCABULARY) {
            assert_eq!(words.component, component);
            assert_eq!(component.vocabulary(), words);
        }
    }

    #[test]
    fn every_word_makes_a_subject_and_none_is_said_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for words in &VOCABULARY {
            let events = words
                .events
                .iter()
                .map(|&word| CimSubject::event(words.component, EventType::new(word).unwrap()));
            let services = words.services.iter().map(|word| {
                let (resource, operation) = word.split_once('.').unwrap();
                CimSubject::service(
                    words.component,
                    Token::new(resource).unwrap(),
                    Token::new(operation).unwrap(),
                )
            });
            let commands = words
                .commands
                .iter()
                .map(|&word| CimSubject::command(words.component, Token::new(word).unwrap()));
            for subject in events.chain(services).chain(commands) {
                assert_eq!(subject.to_string().parse(), Ok(subject.clone()));
                assert!(seen.insert(subject.clone()), "{subject} is listed twice");
            }
        }
        // 27 events, 43 services and 16 commands: a word that is lost changes the count.
        assert_eq!(seen.len(), 86);
    }
}
