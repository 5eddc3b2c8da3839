//! Markdown from the schema of scenario files.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// The schema, with the questions of a reference.
pub(crate) struct Reference<'a> {
    schema: &'a Value,
    /// Definitions in the order in which a reader meets them.
    reached: Vec<&'a str>,
}

type Keys = Map<String, Value>;

impl<'a> Reference<'a> {
    pub(crate) fn new(schema: &'a Value) -> Self {
        let mut reference = Self { schema, reached: Vec::new() };
        reference.reach(schema);
        reference
    }

    /// Visits definitions depth first, a table's keys before the definitions that they lead to.
    fn reach(&mut self, schema: &'a Value) {
        let mut later = Vec::new();
        self.names_in(schema, &mut later);
        for name in later {
            self.reach(self.definition(name));
        }
    }

    fn names_in(&mut self, schema: &'a Value, later: &mut Vec<&'a str>) {
        if let Some(name) = reference_of(schema) {
            if !self.reached.contains(&name) {
                self.reached.push(name);
                later.push(name);
            }
            return;
        }
        match schema {
            Value::Object(keys) => {
                for (key, _) in in_order(schema) {
                    self.names_in(&keys["properties"][key], later);
                }
                let inner = keys.iter().filter(|(key, _)| {
                    !matches!(key.as_str(), "properties" | "definitions" | "default")
                });
                inner.for_each(|(_, value)| self.names_in(value, later));
            }
            Value::Array(items) => items.iter().for_each(|item| self.names_in(item, later)),
            _ => {}
        }
    }

    fn definition(&self, name: &str) -> &'a Value {
        &self.schema["definitions"][name]
    }

    fn defined(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.reached.iter().map(|name| (*name, self.definition(name)))
    }

    /// Renders the spelling of times, sizes and other quantities.
    pub(crate) fn quantities(&self) -> String {
        let mut text = "| value | how it is written |\n|---|---|\n".to_owned();
        for (name, schema) in self.defined().filter(|(_, schema)| is_quantity(schema)) {
            writeln!(text, "| {name} | {} |", meaning(schema)).unwrap();
        }
        text
    }

    /// Renders the keys of a scenario.
    pub(crate) fn top_level(&self) -> String {
        self.keys(self.schema)
    }

    /// Renders a section for each kind of table that a scenario contains, except steps.
    pub(crate) fn tables(&self) -> String {
        let tables = self.defined().filter(|(_, schema)| schema["properties"].is_object());
        tables.fold(String::new(), |mut text, (name, schema)| {
            writeln!(text, "### {}\n{}.\n\n{}", title(name), meaning(schema), self.keys(schema))
                .unwrap();
            text
        })
    }

    /// Renders a section for each set of words that a key's value is one of.
    pub(crate) fn words(&self) -> String {
        let mut text = String::new();
        for (name, schema) in self.defined() {
            let Some(words) = words(schema) else { continue };
            writeln!(text, "### {}\n{}.\n", title(name), meaning(schema)).unwrap();
            text.push_str("| word | meaning |\n|---|---|\n");
            for (word, meaning) in words {
                writeln!(text, "| `{word}` | {meaning} |").unwrap();
            }
            text.push('\n');
        }
        text
    }

    /// Renders every kind of step.
    pub(crate) fn steps(&self) -> String {
        let mut text = "| `do` | what happens | keys |\n|---|---|---|\n".to_owned();
        let kinds = self.definition("Step")["oneOf"].as_array().expect("a step is one of many");
        for kind in kinds {
            let name = kind["properties"]["do"]["const"].as_str().expect("a kind has a name");
            let keys = in_order(kind).filter(|(key, _)| *key != "do");
            let keys: Vec<_> = keys.map(|(key, needed)| self.key(kind, key, needed)).collect();
            writeln!(text, "| `{name}` | {} | {} |", meaning(kind), keys.join("<br>")).unwrap();
        }
        text
    }

    /// Renders a step's key in one line.
    fn key(&self, table: &Value, key: &str, needed: bool) -> String {
        let schema = &table["properties"][key];
        let default = default(schema).map(|d| format!(", {d}")).unwrap_or_default();
        let optional = if needed || !default.is_empty() { "" } else { ", optional" };
        format!("`{key}` ({}{default}{optional}): {}", self.value(schema), lower(&meaning(schema)))
    }

    /// Renders a table of a table's keys.
    fn keys(&self, table: &Value) -> String {
        let mut text = "| key | value | default | meaning |\n|---|---|---|---|\n".to_owned();
        for (key, needed) in in_order(table) {
            let schema = &table["properties"][key];
            let default = match default(schema) {
                Some(default) => default,
                None if needed => String::new(),
                None => "none".into(),
            };
            let (value, meaning) = (self.value(schema), meaning(schema));
            writeln!(text, "| `{key}` | {value} | {default} | {meaning} |").unwrap();
        }
        text
    }

    /// Renders the values that a key may have.
    fn value(&self, schema: &Value) -> String {
        if let Some(name) = reference_of(schema) {
            return self.named(name);
        }
        if let Some(Value::Array(kinds)) = schema.get("oneOf") {
            return kinds.iter().map(|kind| self.value(kind)).collect::<Vec<_>>().join(", ");
        }
        if let Some(word) = schema["const"].as_str() {
            return format!("`\"{word}\"`");
        }
        if let Some(Value::Array(words)) = schema.get("enum") {
            let words = words.iter().map(|word| format!("`{word}`"));
            return words.collect::<Vec<_>>().join(", ");
        }
        match (schema["type"].as_str(), &schema["items"]) {
            (Some("array"), Value::Array(items)) => {
                let items: Vec<_> = items.iter().map(|item| self.value(item)).collect();
                format!("[{}]", items.join(", "))
            }
            (Some("array"), item) => format!("list of {}", self.value(item)),
            (Some("object"), _) => self.object(schema),
            (Some("string"), _) => "text".into(),
            (Some("integer" | "number"), _) => "number".into(),
            (Some("boolean"), _) => "`true`, `false`".into(),
            (kind, _) => panic!("a value of type {kind:?} has no words yet: {schema}"),
        }
    }

    fn object(&self, schema: &Value) -> String {
        if schema["properties"].is_object() {
            let one = |(key, _)| format!("{key} = {}", self.value(&schema["properties"][key]));
            return format!("{{ {} }}", in_order(schema).map(one).collect::<Vec<_>>().join(", "));
        }
        let patterns = schema["patternProperties"].as_object().into_iter().flat_map(Keys::values);
        let any = schema.get("additionalProperties").filter(|value| value.is_object());
        match patterns.chain(any).next() {
            Some(value) => format!("table of {}", self.value(value)),
            None => "table".into(),
        }
    }

    fn named(&self, name: &str) -> String {
        let schema = self.definition(name);
        let has_section = schema["properties"].is_object() || words(schema).is_some();
        match name {
            "Step" => "[step](#steps)".into(),
            _ if has_section => format!("[{0}](#{0})", title(name)),
            _ if is_quantity(schema) => name.into(),
            _ => self.value(schema),
        }
    }
}

/// Renders the table of the scenarios and their titles.
pub(crate) fn scenarios<'a>(titles: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let head = "| scenario | what happens |\n|---|---|\n".to_owned();
    titles.fold(head, |mut text, (name, title)| {
        writeln!(text, "| [`{name}`](../fixtures/scenarios/{name}.toml) | {} |", cell(title))
            .unwrap();
        text
    })
}

/// Returns the name of the definition that a schema refers to.
fn reference_of(schema: &Value) -> Option<&str> {
    let reference =
        schema.get("$ref").or_else(|| match schema.get("allOf")?.as_array()?.as_slice() {
            [only] => only.get("$ref"),
            _ => None,
        })?;
    reference.as_str()?.strip_prefix("#/definitions/")
}

/// Returns a table's keys and whether each is needed: needed ones first, in the type's order.
fn in_order(table: &Value) -> impl Iterator<Item = (&str, bool)> {
    let required: Vec<_> = table["required"].as_array().into_iter().flatten().collect();
    let needed: Vec<_> = required.iter().filter_map(|key| key.as_str()).collect();
    let all = table["properties"].as_object().into_iter().flat_map(Keys::keys).map(String::as_str);
    let others: Vec<_> = all.filter(|key| !needed.contains(key)).collect();
    needed.into_iter().map(|key| (key, true)).chain(others.into_iter().map(|key| (key, false)))
}

/// Returns words with their meanings, if a value is one of them and nothing else.
fn words(schema: &Value) -> Option<Vec<(&str, String)>> {
    let of = schema.get("oneOf")?.as_array()?;
    of.iter().map(|word| Some((word["const"].as_str()?, meaning(word)))).collect()
}

/// Reports whether a value is a text of its own form, which its description explains.
fn is_quantity(schema: &Value) -> bool {
    schema["type"] == "string" && schema["examples"].is_array()
}

fn default(schema: &Value) -> Option<String> {
    let default = schema.get("default")?;
    let empty = default.as_str() == Some("")
        || default.as_array().is_some_and(Vec::is_empty)
        || default.as_object().is_some();
    match default {
        _ if empty => None,
        Value::String(text) => Some(format!("`{text}`")),
        other => Some(format!("`{other}`")),
    }
}

/// Turns a type's name into a heading.
fn title(name: &str) -> String {
    let name = name.strip_suffix("Spec").unwrap_or(name);
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

fn meaning(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_else(|| panic!("not documented: {schema}"));
    cell(text)
}

fn cell(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.trim_end_matches('.').replace('|', "\\|")
}

/// Lowercases the first letter to continue after a colon, unless the text begins with a name.
fn lower(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(next)) if !next.is_uppercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}
