//! Schemas drawn at random, and changes of them, with the keywords that schemars writes.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Map, Value, json};

const NAMES: [&str; 4] = ["a", "b", "kind", "x1"];
const PATTERNS: [&str; 4] = ["^[a-z]+$", "^x", "^[a-z][0-9]?$", "b"];

pub(crate) struct Draw(SmallRng);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.0.random_range(0..n) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.0.random_range(0..all.len())]
    }

    fn number(&mut self) -> Value {
        match self.0.random_range(0..4) {
            0 => json!(f64::from(self.0.random_range(-4..8)) / 2.0),
            _ => json!(self.0.random_range(-3..6)),
        }
    }

    /// Draws a schema with `$defs` that may lead back to themselves.
    pub(crate) fn schema(&mut self) -> Value {
        let mut schema = self.below(3);
        if let Some(fields) = schema.as_object_mut() {
            let defs = json!({ "D": self.below(2), "E": self.below(1) });
            fields.insert("$defs".into(), defs);
        }
        schema
    }

    /// Draws a document without a look at any schema, so that a fault of the judge cannot hide it.
    pub(crate) fn document(&mut self, depth: u32) -> Value {
        let texts = ["", "a", "b", "x1", "abc", "A", "abcde"];
        match self.0.random_range(0..if depth == 0 { 5 } else { 10 }) {
            0 => self.number(),
            1 => json!(null),
            2 => json!(self.one_in(2)),
            3 | 4 => json!(self.pick(&texts)),
            5 => (0..self.0.random_range(0..4)).map(|_| self.document(depth - 1)).collect(),
            _ => {
                let mut fields = Map::new();
                for name in ["a", "b", "x1", "zz"] {
                    if self.one_in(3) {
                        fields.insert(name.into(), self.document(depth - 1));
                    }
                }
                if self.one_in(2) {
                    let tag = self.pick(&["a", "b", "c"]);
                    fields.insert("kind".into(), json!(tag));
                }
                Value::Object(fields)
            }
        }
    }

    fn below(&mut self, depth: u32) -> Value {
        let most = if depth == 0 { 7 } else { 15 };
        match self.0.random_range(0..most) {
            0 => self.scalar("integer"),
            1 => self.scalar("number"),
            2 => self.scalar("string"),
            3 => json!({ "enum": self.values() }),
            4 => json!({ "const": self.values()[0] }),
            5 => json!({ "type": self.pick(&["null", "boolean", "string"]) }),
            6 if self.one_in(3) => json!(self.one_in(2)),
            6 => json!({ "type": ["string", "null"], "minLength": 1 }),
            7 => json!({ "$ref": self.pick(&["#/$defs/D", "#/$defs/E"]) }),
            8 => self.array(depth),
            9 => {
                let keyword = self.pick(&["anyOf", "oneOf", "allOf"]);
                let branches: Vec<_> = (0..2).map(|_| self.below(depth - 1)).collect();
                json!({ keyword: branches })
            }
            10 => self.tagged(depth),
            11 => json!({ "anyOf": [self.below(depth - 1), { "type": "null" }] }),
            _ => self.object(depth),
        }
    }

    fn scalar(&mut self, kind: &str) -> Value {
        let mut schema = json!({ "type": kind });
        if kind == "string" {
            if self.one_in(2) {
                schema["pattern"] = json!(self.pick(&PATTERNS));
            }
            if self.one_in(2) {
                schema["minLength"] = json!(self.0.random_range(0..3));
            }
            if self.one_in(3) {
                schema["maxLength"] = json!(self.0.random_range(1..5));
            }
            if self.one_in(5) {
                schema["format"] = json!(self.pick(&["date-time", "uuid", "date"]));
            }
            return schema;
        }
        for keyword in ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"] {
            if self.one_in(4) {
                schema[keyword] = self.number();
            }
        }
        if self.one_in(4) {
            schema["format"] = json!(self.pick(&["uint8", "uint32", "int64", "double"]));
        }
        if self.one_in(6) {
            schema["multipleOf"] = json!(self.0.random_range(1..4));
        }
        schema
    }

    fn values(&mut self) -> Vec<Value> {
        let all =
            [json!("a"), json!("b"), json!("x1"), json!(1), json!(1.0), json!(2.5), json!(null)];
        let count = self.0.random_range(1..4);
        (0..count).map(|_| all[self.0.random_range(0..all.len())].clone()).collect()
    }

    fn array(&mut self, depth: u32) -> Value {
        let mut schema = json!({ "type": "array" });
        if self.one_in(2) {
            schema["items"] = self.below(depth - 1);
        }
        if self.one_in(3) {
            schema["prefixItems"] = json!([self.below(depth - 1), self.below(depth - 1)]);
        }
        for keyword in ["minItems", "maxItems"] {
            if self.one_in(3) {
                schema[keyword] = json!(self.0.random_range(0..4));
            }
        }
        if self.one_in(4) {
            schema["uniqueItems"] = json!(true);
        }
        schema
    }

    fn tagged(&mut self, depth: u32) -> Value {
        let tags: &[&str] = if self.one_in(2) { &["a", "b"] } else { &["a", "b", "c"] };
        let branches: Vec<_> = tags
            .iter()
            .map(|tag| {
                let mut branch = self.object(depth);
                branch["properties"]["kind"] = json!({ "type": "string", "const": tag });
                branch["required"] = json!(["kind"]);
                branch
            })
            .collect();
        if self.one_in(3) {
            return json!({ "type": "object", "oneOf": branches, "unevaluatedProperties": false });
        }
        json!({ "oneOf": branches })
    }

    fn object(&mut self, depth: u32) -> Value {
        let mut properties = Map::new();
        for name in NAMES {
            if self.one_in(2) {
                properties.insert(name.into(), self.below(depth.saturating_sub(1)));
            }
        }
        let required: Vec<_> = properties.keys().filter(|_| self.one_in(2)).cloned().collect();
        let mut schema =
            json!({ "type": "object", "properties": properties, "required": required });
        match self.0.random_range(0..6) {
            0 | 1 => schema["additionalProperties"] = json!(false),
            2 => schema["additionalProperties"] = self.below(0),
            3 => {
                schema["allOf"] = json!([{ "properties": { "b": self.below(0) } }]);
                schema["unevaluatedProperties"] = json!(false);
            }
            _ => {}
        }
        if self.one_in(5) {
            let pattern = self.pick(&PATTERNS);
            schema["patternProperties"] = json!({ pattern: self.below(0) });
        }
        if self.one_in(8) {
            schema["minProperties"] = json!(self.0.random_range(0..3));
        }
        if self.one_in(8) {
            schema["maxProperties"] = json!(self.0.random_range(1..4));
        }
        if self.one_in(10) {
            schema["propertyNames"] = json!({ "pattern": self.pick(&PATTERNS) });
        }
        if self.one_in(10) {
            schema["dependentRequired"] = json!({ "a": ["b"] });
        }
        schema
    }

    /// Changes a schema at one place.
    pub(crate) fn change(&mut self, schema: &mut Value) {
        let Some(fields) = schema.as_object_mut() else {
            *schema = self.below(1);
            return;
        };
        let keys: Vec<_> = fields.keys().cloned().collect();
        if keys.is_empty() || self.one_in(8) {
            *schema = self.below(1);
            return;
        }
        let key = keys[self.0.random_range(0..keys.len())].clone();
        if self.one_in(5) && key != "$defs" {
            fields.remove(&key);
            return;
        }
        let extra = self.below(0);
        match (key.as_str(), &mut fields[&key]) {
            ("properties" | "$defs" | "patternProperties", Value::Object(all)) => {
                let names: Vec<_> = all.keys().cloned().collect();
                if key == "properties" && (names.is_empty() || self.one_in(3)) {
                    let name = self.pick(&NAMES);
                    if all.remove(name).is_none() {
                        all.insert(name.into(), extra);
                    }
                } else if !names.is_empty() {
                    let name = &names[self.0.random_range(0..names.len())];
                    self.change(&mut all[name]);
                }
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(all)) => {
                match self.0.random_range(0..3) {
                    0 => all.push(extra),
                    1 if all.len() > 1 => {
                        all.pop();
                    }
                    _ => {
                        let index = self.0.random_range(0..all.len());
                        self.change(&mut all[index]);
                    }
                }
            }
            ("required", value) => *value = json!([self.pick(&NAMES)]),
            ("enum", value) => *value = json!(self.values()),
            (
                "items" | "additionalProperties" | "unevaluatedProperties" | "propertyNames",
                value,
            ) => {
                self.change(value);
            }
            ("type", value) => {
                *value = json!(self.pick(&["integer", "number", "string", "object", "array"]));
            }
            ("minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum", value) => {
                *value = self.number();
            }
            (
                "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties"
                | "maxProperties",
                value,
            ) => *value = json!(self.0.random_range(0..5)),
            ("pattern", value) => *value = json!(self.pick(&PATTERNS)),
            _ => {}
        }
    }
}
