//! Expressions: what they depend on, and how they fail.

use cim_pipeline_engine::expression::Expression;
use jaq_json::Val;

#[test]
fn expressions_depend_on_their_input_alone() {
    for text in ["now", "env", "$ENV", "halt", "input", "localtime", "debug"] {
        assert!(Expression::compile(text, &[]).is_err(), "`{text}` is refused");
    }
    for text in
        [".a.b // \"x\"", "@base64", "test(\"a\")", "fromdate | todate", "[.[] | select(.)] | add"]
    {
        Expression::compile(text, &[]).unwrap_or_else(|error| panic!("`{text}`: {error:?}"));
    }
}

#[test]
fn an_expression_without_end_ends() {
    let error = Expression::compile("repeat(1)", &[]).unwrap().run(Val::Null, vec![]).unwrap_err();
    assert_eq!(error, "gives more than 10000 outputs for one event");
}

#[test]
fn places_are_those_of_the_text() {
    let at = |text| Expression::compile(text, &[]).map(|_| ()).unwrap_err();
    assert_eq!(at(".a | nope").offset, 5);
    assert_eq!(at(".a | $b").offset, 5);
    assert_eq!(at(".a | (").offset, 6);
}
