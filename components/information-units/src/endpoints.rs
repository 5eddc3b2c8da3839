//! The requests that information units answer.

use cim_runtime::component::{Code, Endpoint, Kind, reply, request};

use crate::decide::{
    Command, METADATA_INVALID, TYPE_CONFLICT, TYPE_INVALID, TYPE_NOT_FOUND, UNIT_EXISTS,
    UNIT_NOT_FOUND, VERSION_CONFLICT, VERSION_NOT_FOUND,
};
use crate::query::{self, QUERY_INVALID};
use crate::state::Units;

const DONE: &str = "component-done/v1";

pub(crate) fn endpoints() -> Vec<Endpoint<Units>> {
    vec![
        command(
            ("unit.create", "iu-unit-create/v1"),
            &[UNIT_EXISTS, TYPE_NOT_FOUND, METADATA_INVALID],
            Kind::Command(|body| request(body).map(Command::Create)),
        ),
        command(
            ("unit.update", "iu-unit-update/v1"),
            &[UNIT_NOT_FOUND, VERSION_CONFLICT, TYPE_NOT_FOUND, METADATA_INVALID],
            Kind::Command(|body| request(body).map(Command::Update)),
        ),
        command(
            ("unit.link", "iu-unit-link/v1"),
            &[UNIT_NOT_FOUND],
            Kind::Command(|body| request(body).map(Command::Link)),
        ),
        command(
            ("type.register", "iu-type-register/v1"),
            &[TYPE_CONFLICT, TYPE_INVALID],
            Kind::Command(|body| request(body).map(Command::Register)),
        ),
        Endpoint {
            operation: "unit.get",
            request: "iu-unit-get/v1",
            reply: "iu-unit/v1",
            refusals: &[UNIT_NOT_FOUND, VERSION_NOT_FOUND],
            kind: Kind::Query(|units, body| Ok(reply(&query::get(units, &request(body)?)?))),
        },
        Endpoint {
            operation: "unit.list",
            request: "iu-unit-list/v1",
            reply: "iu-units/v1",
            refusals: &[],
            kind: Kind::Query(|units, body| Ok(reply(&query::list(units, &request(body)?)?))),
        },
        Endpoint {
            operation: "unit.query",
            request: "iu-unit-query/v1",
            reply: "iu-units/v1",
            refusals: &[QUERY_INVALID],
            kind: Kind::Query(|units, body| Ok(reply(&query::query(units, &request(body)?)?))),
        },
        Endpoint {
            operation: "type.validate",
            request: "iu-type-validate/v1",
            reply: "iu-type-validated/v1",
            refusals: &[TYPE_NOT_FOUND],
            kind: Kind::Query(|units, body| Ok(reply(&query::validate(units, &request(body)?)?))),
        },
    ]
}

fn command(
    (operation, request): (&'static str, &'static str),
    refusals: &'static [Code],
    kind: Kind<Units>,
) -> Endpoint<Units> {
    Endpoint { operation, request, reply: DONE, refusals, kind }
}
