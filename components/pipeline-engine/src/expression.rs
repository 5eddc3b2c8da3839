//! Expressions in jq, compiled once.
//!
//! `now`, `env`, `input` and `halt` are not among the functions: an expression depends on its input alone.

use std::fmt;

use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars, data, unwrap_valr};
use jaq_json::Val;

/// Outputs of one expression for one event: more are an error, so that `repeat` ends.
pub const MOST_OUTPUTS: usize = 10_000;

/// Functions that would make the output depend on more than the input, or end the process.
const LEFT_OUT: [&str; 11] = [
    "now",
    "env",
    "halt",
    "halt_error",
    "input_filename",
    "localtime",
    "strflocaltime",
    "debug",
    "debug_empty",
    "stderr",
    "stderr_empty",
];

type Data = data::JustLut<Val>;

/// A compiled expression.
pub struct Expression {
    filter: Filter<Data>,
    text: String,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

/// An expression that is not jq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The place in the expression, in bytes.
    pub offset: usize,
    /// The problem.
    pub message: String,
}

impl Expression {
    /// Compiles an expression that may use these variables, each with its `$`.
    ///
    /// # Errors
    /// When it is no jq, or names a function or a variable that does not exist.
    pub fn compile(text: &str, variables: &[&'static str]) -> Result<Self, Invalid> {
        let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
        let funs = funs.filter(|(name, ..)| !LEFT_OUT.contains(name));
        let defs = defs.filter(|def| !LEFT_OUT.contains(&def.name));
        let arena = Arena::default();
        let program = File { code: text, path: () };
        let modules =
            Loader::new(defs).load(&arena, program).map_err(|errors| unread(text, &errors))?;
        let compiler =
            Compiler::default().with_funs(funs).with_global_vars(variables.iter().copied());
        let filter = compiler.compile(modules).map_err(|errors| {
            let found = errors.into_iter().flat_map(|(_, errors)| errors).next();
            let (name, undefined) = found.expect("a compilation that failed says why");
            let what = undefined.as_str();
            Invalid { offset: offset(text, name), message: format!("there is no {what} `{name}`") }
        })?;
        Ok(Self { filter, text: text.to_owned() })
    }

    /// Returns every output for an input.
    ///
    /// # Errors
    /// When the expression raises an error, or gives more than [`MOST_OUTPUTS`].
    pub fn run(&self, input: Val, variables: Vec<Val>) -> Result<Vec<Val>, String> {
        let context = Ctx::<Data>::new(&self.filter.lut, Vars::new(variables));
        let mut outputs = Vec::new();
        for output in self.filter.id.run((context, input)).map(unwrap_valr) {
            if outputs.len() == MOST_OUTPUTS {
                return Err(format!("gives more than {MOST_OUTPUTS} outputs for one event"));
            }
            outputs.push(output.map_err(|error| brief(&error.to_string()))?);
        }
        Ok(outputs)
    }

    /// Returns the only output.
    ///
    /// # Errors
    /// When there is an error, none, or more than one.
    pub fn one(&self, input: Val) -> Result<Val, String> {
        let mut outputs = self.run(input, Vec::new())?;
        match (outputs.pop(), outputs.len()) {
            (Some(only), 0) => Ok(only),
            (None, _) => Err(format!("`{}` gives nothing", self.text)),
            (Some(_), more) => {
                Err(format!("`{}` gives {} values instead of one", self.text, more + 1))
            }
        }
    }

    /// Reports whether the first output is neither false nor null, as `select` does.
    ///
    /// # Errors
    /// When the expression raises one.
    pub fn holds(&self, input: Val) -> Result<bool, String> {
        Ok(self
            .run(input, Vec::new())?
            .iter()
            .any(|output| !matches!(output, Val::Null | Val::Bool(false))))
    }
}

/// Cuts an error short: jq puts the whole value into it.
fn brief(text: &str) -> String {
    const MOST: usize = 200;
    if text.chars().count() <= MOST {
        text.to_owned()
    } else {
        text.chars().take(MOST).chain(['…']).collect()
    }
}

fn offset(text: &str, part: &str) -> usize {
    let at = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    if at <= text.len() { at } else { 0 }
}

fn unread(text: &str, errors: &load::Errors<&str, ()>) -> Invalid {
    let first = errors.first().and_then(|(_, error)| match error {
        load::Error::Lex(errors) => {
            errors.first().map(|(expected, part)| (expected.as_str(), *part))
        }
        load::Error::Parse(errors) => {
            errors.first().map(|(expected, part)| (expected.as_str(), *part))
        }
        load::Error::Io(errors) => {
            errors.first().map(|(part, _)| ("no `include` and no `import`", *part))
        }
    });
    let (expected, part) = first.unwrap_or(("an expression", text));
    let found = if part.is_empty() { "the end".to_owned() } else { format!("`{}`", brief(part)) };
    let message = format!("no jq: expected {expected}, found {found}");
    Invalid { offset: offset(text, part), message }
}
