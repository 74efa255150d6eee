//! JSON Schemas: compiled once a tool version, within bounds, without reaching the network.

mod cost;
mod words;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;
use toolroom_domain::{ToolId, Violation, limits, tool::Definition};

use self::cost::Cost;
use super::error::VIOLATIONS;

/// Backtracking steps of one `pattern` on one text. Patterns without look-around need none; with
/// it, honest ones need dozens.
const BACKTRACKS: usize = 10_000;
/// Bytes of one compiled `pattern`: `^\p{L}{1,64}$` fits, a nest of repetitions does not.
const PATTERN_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of compiled schemas that are kept, as [`Pair`] estimates them: thousands of honest tools.
const CACHE_BYTES: u64 = 128 * 1024 * 1024;
/// What a pattern is estimated at: most take less, the largest sixteen times as much.
const PATTERN_WEIGHT: usize = 256 * 1024;
/// What a byte of schema becomes when it is compiled.
const COMPILED_FACTOR: usize = 16;
/// From this size on a value is looked through on a thread where that may take its time.
pub(super) const INLINE_BYTES: usize = 64 * 1024;
/// The drafts that are understood.
const DRAFTS: &[&str] = &[
    "json-schema.org/draft-04/schema",
    "json-schema.org/draft-06/schema",
    "json-schema.org/draft-07/schema",
    "json-schema.org/draft/2019-09/schema",
    "json-schema.org/draft/2020-12/schema",
];

/// A compiled schema.
#[derive(Debug)]
pub(crate) struct Schema {
    validator: Validator,
    cost: Cost,
}

impl Schema {
    /// Compiles a schema; without `$schema` it is read as draft 2020-12.
    ///
    /// # Errors
    /// What is wrong with it, paths relative to the schema.
    pub(crate) fn compile(schema: &Value) -> Result<Self, Vec<Violation>> {
        Self::compiled(schema, Formats::Told)
    }

    /// As [`Self::compile`]; and a value that is not of its `format` is a violation, which drafts
    /// since 2019 leave to whoever validates.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub(crate) fn compile_with_formats(schema: &Value) -> Result<Self, Vec<Violation>> {
        Self::compiled(schema, Formats::Checked)
    }

    fn compiled(schema: &Value, formats: Formats) -> Result<Self, Vec<Violation>> {
        check_drafts(schema)?;
        // The compiler is given whatever clients send; should it trip, only that client stumbles.
        let compiled = catch_unwind(AssertUnwindSafe(|| build(schema, formats)));
        compiled.unwrap_or_else(|_| {
            let problem = "is not a schema that can be compiled; simplify it";
            Err(vec![Violation::new("", problem)])
        })
    }

    /// Checks a value.
    ///
    /// # Errors
    /// The first [`VIOLATIONS`] violations, paths relative to the value. Messages repeat nothing
    /// of the value but names of fields.
    pub(crate) fn check(&self, value: &Value) -> Result<(), Vec<Violation>> {
        self.cost
            .check(value)
            .map_err(|violation| vec![violation])?;
        self.check_unpriced(value)
    }

    /// Checks a value of the operator's own, however much work it is.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(crate) fn check_unpriced(&self, value: &Value) -> Result<(), Vec<Violation>> {
        let found: Vec<Violation> = self
            .validator
            .iter_errors(value)
            .flat_map(|error| words::violations(&error))
            .take(VIOLATIONS)
            .collect();
        if found.is_empty() { Ok(()) } else { Err(found) }
    }
}

/// What `format` does.
#[derive(Clone, Copy, PartialEq)]
enum Formats {
    /// What the schema's draft says.
    Told,
    /// It is checked.
    Checked,
}

fn build(schema: &Value, formats: Formats) -> Result<Schema, Vec<Violation>> {
    let meta = jsonschema::meta::validator_for(schema).map_err(|e| vec![refused(&e)])?;
    let found: Vec<Violation> = meta
        .iter_errors(schema)
        .flat_map(|error| words::violations(&error))
        .take(VIOLATIONS)
        .collect();
    if !found.is_empty() {
        return Err(found);
    }
    let cost = Cost::of(schema)?;
    let patterns = PatternOptions::fancy_regex()
        .backtrack_limit(BACKTRACKS)
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES);
    let mut options = jsonschema::options()
        .offline()
        .with_pattern_options(patterns);
    if formats == Formats::Checked {
        options = options.should_validate_formats(true);
    }
    let validator = options.build(schema).map_err(|e| vec![refused(&e)])?;
    Ok(Schema { validator, cost })
}

/// Why the compiler refused a schema that its meta-schema accepts: a reference or a pattern.
fn refused(error: &ValidationError<'_>) -> Violation {
    let path = words::dotted(error.instance_path());
    let problem = if error.kind().keyword() == "pattern" || error.kind().keyword() == "format" {
        "holds a pattern that is no regular expression, or one that is too large"
    } else {
        "cannot be compiled: each `$ref` must lead to a place within the schema \
         (others are never fetched), each pattern must be a regular expression"
    };
    Violation::new(path, problem)
}

/// The meta-schema of an unknown draft would have to be fetched.
fn check_drafts(schema: &Value) -> Result<(), Vec<Violation>> {
    let named = match schema.get("$schema") {
        None => return Ok(()),
        Some(named) => named.as_str().unwrap_or_default(),
    };
    let bare = named
        .trim_end_matches('#')
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    if DRAFTS.contains(&bare) {
        return Ok(());
    }
    let problem = "must name draft 4, 6, 7, 2019-09 or 2020-12, such as \
                   https://json-schema.org/draft/2020-12/schema";
    Err(vec![Violation::new("$schema", problem)])
}

/// Both schemas of a tool version.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) input: Schema,
    pub(super) output: Option<Schema>,
    weight: u32,
}

impl Pair {
    /// Compiles both.
    ///
    /// # Errors
    /// What is wrong with either, paths relative to the definition.
    pub(super) fn compile(definition: &Definition) -> Result<Self, Vec<Violation>> {
        let under = |place: &str, found: Vec<Violation>| -> Vec<Violation> {
            found.into_iter().map(|v| v.under(place)).collect()
        };
        let input = Schema::compile(&definition.input_schema).map_err(|f| under("inputSchema", f));
        let output = definition
            .output_schema
            .as_ref()
            .map(|s| Schema::compile(s).map_err(|f| under("outputSchema", f)))
            .transpose();
        match (input, output) {
            (Ok(input), Ok(output)) => {
                let patterns = input.cost.patterns + output.as_ref().map_or(0, |o| o.cost.patterns);
                let weight = schema_bytes(definition) * COMPILED_FACTOR + patterns * PATTERN_WEIGHT;
                Ok(Self {
                    input,
                    output,
                    weight: u32::try_from(weight).unwrap_or(u32::MAX),
                })
            }
            (input, output) => {
                let found = [input.err(), output.err()];
                Err(found.into_iter().flatten().flatten().collect())
            }
        }
    }
}

fn schema_bytes(definition: &Definition) -> usize {
    let output = definition
        .output_schema
        .as_ref()
        .map_or(0, serialised_bytes);
    serialised_bytes(&definition.input_schema) + output
}

/// Checks an output; a large one on a thread of its own. Gives it back with what is wrong with it.
pub(super) async fn check_output(
    schemas: Arc<Pair>,
    output: Value,
) -> (Value, Result<(), Vec<Violation>>) {
    let check = move |output: Value| {
        let outcome = schemas.output.as_ref().map_or(Ok(()), |s| s.check(&output));
        (output, outcome)
    };
    if serialised_bytes(&output) <= INLINE_BYTES {
        return check(output);
    }
    let checked = tokio::task::spawn_blocking(move || check(output)).await;
    checked.unwrap_or_else(|_| {
        let problem = "could not be checked against its schema";
        (Value::Null, Err(vec![Violation::new("", problem)]))
    })
}

/// The compiled schemas of the tool versions that ran lately. A version never changes, so nothing
/// here goes stale.
pub(super) struct Cache {
    pairs: moka::sync::Cache<(ToolId, u32), Arc<Pair>>,
}

impl Cache {
    pub(super) fn new() -> Self {
        let pairs = moka::sync::Cache::builder()
            .max_capacity(CACHE_BYTES)
            .weigher(|_, pair: &Arc<Pair>| pair.weight)
            .build();
        Self { pairs }
    }

    /// The schemas of a tool version, compiled now if need be.
    ///
    /// # Errors
    /// As of [`Pair::compile`].
    pub(super) fn get(
        &self,
        tool: ToolId,
        version: u32,
        definition: &Definition,
    ) -> Result<Arc<Pair>, Vec<Violation>> {
        if let Some(pair) = self.pairs.get(&(tool, version)) {
            return Ok(pair);
        }
        let pair = Arc::new(Pair::compile(definition)?);
        self.pairs.insert((tool, version), Arc::clone(&pair));
        Ok(pair)
    }
}

/// Whether an input is flat enough to be looked at closely. Its size is bounded by whoever keeps it.
///
/// # Errors
/// The violation, at the value itself.
pub(super) fn check_depth(value: &Value) -> Result<(), Violation> {
    if toolroom_domain::tool::depth(value) > limits::JSON_DEPTH {
        let problem = format!("must nest at most {} levels", limits::JSON_DEPTH);
        return Err(Violation::new("", problem));
    }
    Ok(())
}

/// Whether a value is small and flat enough to be looked at closely.
///
/// # Errors
/// The violation, at the value itself.
pub(super) fn check_size(value: &Value) -> Result<(), Violation> {
    check_depth(value)?;
    let bytes = serialised_bytes(value);
    if bytes > limits::JOB_VALUE_BYTES {
        let problem = format!(
            "must be at most {} bytes as JSON, is {bytes}",
            limits::JOB_VALUE_BYTES
        );
        return Err(Violation::new("", problem));
    }
    Ok(())
}

pub(crate) fn serialised_bytes(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Neither the counter nor a `Value` can fail to be written.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

#[cfg(test)]
mod tests;
