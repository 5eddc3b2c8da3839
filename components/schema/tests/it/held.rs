//! Every verdict on drawn schemas is held against a validator.

use cim_schema::{documents, judge};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::draw::Draw;

/// How many documents are tried that were drawn without a look at the schemas.
const BLIND: usize = 200;
/// How many documents of each version are tried on the other.
const DOCUMENTS: usize = 24;

fn validator(schema: &Value, formats: bool) -> Validator {
    jsonschema::draft202012::options()
        .should_validate_formats(formats)
        .build(schema)
        .unwrap_or_else(|e| panic!("{e}: {schema:#}"))
}

/// What was seen in many cases: a run that proves little shows here.
#[derive(Debug, Default)]
struct Tally {
    cases: u64,
    documents: u64,
    proven: u64,
    proven_of_changed: u64,
    refused: u64,
    /// Not proven, and no document was found that shows why.
    open: u64,
}

/// Judges one pair of schemas, and holds both answers against the validator.
fn hold(seed: u64, tally: &mut Tally) {
    let mut draw = Draw::new(seed);
    let old = draw.schema();
    let mut new = old.clone();
    for _ in 0..seed % 3 {
        draw.change(&mut new);
        // References lead somewhere, also if the whole was replaced.
        if new.is_object() && new.get("$defs").is_none() {
            new["$defs"] = old.get("$defs").cloned().unwrap_or_else(|| json!({ "D": {}, "E": {} }));
        }
    }
    if seed.is_multiple_of(17) {
        new = draw.schema();
    }
    let judgement = judge(&old, &new).unwrap();
    let pairs =
        [(&old, &new, judgement.class.is_backward()), (&new, &old, judgement.class.is_forward())];
    tally.cases += 1;
    let blind: Vec<_> = (0..BLIND).map(|_| draw.document(2)).collect();
    for (from, to, proven) in pairs {
        let mut found = false;
        for formats in [false, true] {
            let (from_valid, to_valid) = (validator(from, formats), validator(to, formats));
            // Documents that were drawn from the other side come near what this one refuses.
            let drawn = documents(from, to, seed).take(DOCUMENTS);
            let drawn = drawn.chain(documents(to, from, seed).take(DOCUMENTS));
            let drawn: Vec<_> = drawn.chain(blind.iter().cloned()).collect();
            for document in drawn.iter().filter(|document| from_valid.is_valid(document)) {
                tally.documents += 1;
                let taken = to_valid.is_valid(document);
                found |= !taken;
                assert!(
                    taken || !proven,
                    "seed {seed}, formats {formats}: {document} is valid here:\n{from:#}\nand not here, which the \
                     judge says it is:\n{to:#}"
                );
            }
        }
        tally.proven += u64::from(proven);
        tally.proven_of_changed += u64::from(proven && old != new);
        tally.refused += u64::from(found);
        tally.open += u64::from(!proven && !found);
    }
}

fn run(seeds: std::ops::Range<u64>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        hold(seed, &mut tally);
    }
    tally
}

#[test]
fn no_document_contradicts_a_verdict() {
    let tally = run(0..1_000);
    // A judge that proves nothing would pass, and so would one without documents.
    assert!(tally.proven_of_changed > tally.cases / 4, "{tally:?}");
    assert!(tally.documents > tally.cases * 8, "{tally:?}");
    assert!(tally.refused > tally.cases / 4, "{tally:?}");
    assert!(tally.open < tally.cases / 4, "{tally:?}");
}

/// The long run: `cargo test --release -p cim-schema --test it -- --ignored --nocapture hundred`.
#[test]
#[ignore = "takes minutes"]
fn no_document_contradicts_a_verdict_in_a_hundred_thousand() {
    println!("{:?}", run(1_000_000..1_100_000));
}

/// A schema is compatible with itself, whatever it has.
#[test]
fn every_schema_is_fully_compatible_with_itself() {
    let mut proven = 0;
    for seed in 0..300 {
        let schema = Draw::new(seed).schema();
        let judgement = judge(&schema, &schema).unwrap();
        proven += u64::from(judgement.class == cim_schema::Class::Full);
    }
    // What overlaps in a `oneOf` is not proven.
    assert!(proven > 240, "{proven} of 300");
}
