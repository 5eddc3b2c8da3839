//! The JSON Schemas of the contract.

use std::collections::BTreeMap;

use cim_core::schemas::{SchemaDoc, WireType};
use cim_runtime::component::Done;
use serde_json::Value;

use crate::contract::{
    CapabilityAdded, CapabilityRemoved, Component, Components, Get, Heartbeat, List, Providers,
    Query, Register, Registered, Unregister, Unregistered,
};

macro_rules! wire_types {
    ($($type:ident = $name:literal v $version:literal,)*) => {
        $(impl WireType for $type {
            const TYPE_NAME: &'static str = $name;
            const VERSION: u32 = $version;
        })*

        /// Returns the current schema of every type of the contract.
        pub fn all() -> Vec<SchemaDoc> {
            vec![SchemaDoc::of::<Done>(), $(SchemaDoc::of::<$type>(),)*]
        }
    };
}

wire_types! {
    Registered = "registry-component-registered" v 1,
    Unregistered = "registry-component-unregistered" v 1,
    CapabilityAdded = "registry-capability-added" v 1,
    CapabilityRemoved = "registry-capability-removed" v 1,
    Register = "registry-component-register" v 1,
    Unregister = "registry-component-unregister" v 1,
    Heartbeat = "registry-component-heartbeat" v 1,
    Get = "registry-component-get" v 1,
    Component = "registry-component" v 1,
    List = "registry-component-list" v 1,
    Components = "registry-components" v 1,
    Query = "registry-capability-query" v 1,
    Providers = "registry-capability-providers" v 1,
}

/// Returns the schemas by `<type>/v<version>`.
pub(crate) fn by_name() -> BTreeMap<String, Value> {
    let named = |doc: SchemaDoc| (format!("{}/v{}", doc.type_name, doc.version), doc.schema);
    all().into_iter().map(named).collect()
}
