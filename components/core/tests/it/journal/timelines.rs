//! Readers find what writers wrote: messages by timeline, watermarks, objects that are used no more.

use cim_testing::cases;
use proptest::prelude::*;

use super::draw::history;
use super::model::Model;
use super::{empty, journal};

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn every_timeline_has_its_messages_and_no_object_goes_that_is_in_use(history in history()) {
        let (mut model, mut state) = (Model::new(journal()), empty());
        for drawn in &history {
            let (entry, hash) = model.commit(drawn);
            state.apply(&entry, hash).unwrap();
            model.agrees(&state);
        }
    }
}
