//! The JSON Schemas of the contract.

use std::collections::BTreeMap;

use cim_core::schemas::{SchemaDoc, WireType};
use cim_runtime::component::Done;
use serde_json::Value;

use crate::contract::{
    Create, Created, Found, Get, Link, Linked, List, Query, RegisterType, TypeRegistered,
    UnitReply, Update, Updated, Validate, Validated,
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
    Created = "iu-unit-created" v 1,
    Updated = "iu-unit-updated" v 1,
    Linked = "iu-unit-linked" v 1,
    TypeRegistered = "iu-type-registered" v 1,
    Create = "iu-unit-create" v 1,
    Update = "iu-unit-update" v 1,
    Link = "iu-unit-link" v 1,
    Get = "iu-unit-get" v 1,
    UnitReply = "iu-unit" v 1,
    List = "iu-unit-list" v 1,
    Query = "iu-unit-query" v 1,
    Found = "iu-units" v 1,
    RegisterType = "iu-type-register" v 1,
    Validate = "iu-type-validate" v 1,
    Validated = "iu-type-validated" v 1,
}

/// Returns the schemas by `<type>/v<version>`.
pub(crate) fn by_name() -> BTreeMap<String, Value> {
    let named = |doc: SchemaDoc| (format!("{}/v{}", doc.type_name, doc.version), doc.schema);
    all().into_iter().map(named).collect()
}
