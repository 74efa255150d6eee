//! `echo`: gives back what it is given.

use serde_json::Value;

use super::Context;
use crate::executor::error::CallError;

pub(super) async fn echo(_: Context, input: Value) -> Result<Value, CallError> {
    Ok(input)
}
