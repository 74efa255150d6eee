//! What is wrong with a value, in words that repeat nothing of it.

use jsonschema::{
    ValidationError,
    error::{TypeKind, ValidationErrorKind as Kind},
    paths::Location,
};
use serde_json::Value;
use toolroom_domain::Violation;

use crate::executor::error::beginning;

/// Bytes of a path, and of what a schema says that a message repeats.
const SHOWN_BYTES: usize = 300;

/// A place in a value as a dotted path.
pub(super) fn dotted(location: &Location) -> String {
    let segments: Vec<String> = location.segments().map(|s| s.to_string()).collect();
    beginning(&segments.join("."), SHOWN_BYTES).to_owned()
}

/// One error of the validator as violations: a field that is missing or unknown is the path.
pub(super) fn violations(error: &ValidationError<'_>) -> Vec<Violation> {
    let place = dotted(error.instance_path());
    let below = |name: &str, message: &str| {
        Violation::new(beginning(name, SHOWN_BYTES), message).under(&place)
    };
    match error.kind() {
        Kind::Required { property } => {
            vec![below(property.as_str().unwrap_or_default(), "is required")]
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let unknown = |name: &String| below(name, "is not a known field");
            unexpected.iter().map(unknown).collect()
        }
        kind => vec![Violation::new(place, message(kind))],
    }
}

fn message(kind: &Kind) -> String {
    match kind {
        Kind::Type { kind } => format!("must be of type {}", types(kind)),
        Kind::Enum { options } => format!("must be one of {}", shown(options)),
        Kind::Constant { expected_value } => format!("must be {}", shown(expected_value)),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be greater than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinItems { limit } => format!("must have at least {limit} items"),
        Kind::MaxItems { limit } => format!("must have at most {limit} items"),
        Kind::MinProperties { limit } => format!("must have at least {limit} fields"),
        Kind::MaxProperties { limit } => format!("must have at most {limit} fields"),
        Kind::Pattern { pattern } => {
            format!("must match the pattern {}", beginning(pattern, SHOWN_BYTES))
        }
        Kind::Format { format } => {
            format!("must have the format {}", beginning(format, SHOWN_BYTES))
        }
        Kind::UniqueItems => "must not hold the same item twice".to_owned(),
        Kind::Contains => "must contain the item that the schema demands".to_owned(),
        Kind::AdditionalItems { limit } => format!("must have at most {limit} items"),
        Kind::UnevaluatedItems { .. } => "has more items than the schema knows".to_owned(),
        Kind::AnyOf { .. } => "must match at least one schema of `anyOf`".to_owned(),
        Kind::OneOfNotValid { .. } => "must match one schema of `oneOf`".to_owned(),
        Kind::OneOfMultipleValid { .. } => {
            "must match exactly one schema of `oneOf`, matches several".to_owned()
        }
        Kind::Not { .. } => "must not match the schema under `not`".to_owned(),
        Kind::PropertyNames { .. } => "has a field whose name is not allowed".to_owned(),
        Kind::FalseSchema => "must be left out".to_owned(),
        Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } => {
            "is too much work to check against its pattern".to_owned()
        }
        other => format!("does not satisfy `{}`", other.keyword()),
    }
}

/// What the schema says; it is the tool's, not the caller's.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match beginning(&text, SHOWN_BYTES) {
        whole if whole.len() == text.len() => text,
        cut => format!("{cut}…"),
    }
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(several) => several
            .iter()
            .map(|one| one.to_string())
            .collect::<Vec<_>>()
            .join(" or "),
    }
}
