//! `math.evaluate`: the value of an expression, in 64-bit floating point.

use std::{borrow::Cow, collections::BTreeMap};

use exmex::Express;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Number, json};

use super::Context;
use crate::executor::error::{CallError, beginning};

/// Characters of an expression. Each operation takes constant time, so this bounds the time too.
const EXPRESSION_CHARS: usize = 1_000;
/// Parentheses within each other: the parser recurses as deeply.
const NESTING: usize = 100;
/// Up to here every whole number has its own floating point number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What to evaluate.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// An expression such as `2 * (x + 1) ^ 2` or `sqrt(2) * sin(PI / 4)`. A minus sign binds closer
    /// than `^`: `-2 ^ 2` is 4.
    expression: String,
    /// Values of the names in the expression.
    #[serde(default)]
    variables: BTreeMap<String, f64>,
}

/// A number; a whole one without a fraction.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Output(Number);

impl JsonSchema for Output {
    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number"})
    }
}

pub(super) async fn evaluate(_: Context, input: Input) -> Result<Output, CallError> {
    check(&input.expression)?;
    let expression = exmex::parse::<f64>(&input.expression).map_err(|_| {
        CallError::invalid("`expression` is not an expression such as 2 * (x + 1) ^ 2")
    })?;
    let names = expression.var_names().iter();
    let values = names.map(|name| input.variables.get(name).copied().ok_or(name));
    let values = values.collect::<Result<Vec<f64>, _>>().map_err(|name| {
        CallError::invalid("`expression` holds a name that `variables` gives no value")
            .with_details(json!({ "name": beginning(name, 100) }))
    })?;
    let value = expression
        .eval(&values)
        .map_err(|_| CallError::invalid("`expression` cannot be evaluated"))?;
    let number = if value.fract() == 0.0 && value.abs() <= EXACT {
        Some(Number::from(value as i64))
    } else {
        Number::from_f64(value)
    };
    number.map(Output).ok_or_else(|| {
        CallError::invalid(
            "the result is not a number: a division by zero, an overflow or the like",
        )
    })
}

fn check(expression: &str) -> Result<(), CallError> {
    if expression.chars().count() > EXPRESSION_CHARS {
        let problem = format!("`expression` must have at most {EXPRESSION_CHARS} characters");
        return Err(CallError::invalid(problem));
    }
    let mut open = 0_usize;
    for c in expression.chars() {
        match c {
            '(' | '{' | '[' => open += 1,
            ')' | '}' | ']' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > NESTING {
            let problem = format!("`expression` must nest at most {NESTING} parentheses");
            return Err(CallError::invalid(problem));
        }
    }
    Ok(())
}
