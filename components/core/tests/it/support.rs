//! Helpers of several tests.

use serde_json::Value;

/// A compiled JSON Schema.
pub(crate) struct Schema {
    compiled: boon::Schemas,
    index: boon::SchemaIndex,
}

impl Schema {
    pub(crate) fn new(schema: Value) -> Self {
        let mut compiler = boon::Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource("urn:test", schema).unwrap();
        let mut compiled = boon::Schemas::new();
        let index = compiler.compile("urn:test", &mut compiled).unwrap();
        Self { compiled, index }
    }

    pub(crate) fn of<T: schemars::JsonSchema>() -> Self {
        Self::new(schemars::schema_for!(T).into())
    }

    /// Returns the schema's reason for refusing the document, if it does.
    pub(crate) fn refusal(&self, document: &Value) -> Option<String> {
        self.compiled.validate(document, self.index).err().map(|e| format!("{e:#}"))
    }
}
