//! `text.format`: a text in a style, as CommonMark.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Context;
use crate::executor::error::CallError;

/// What to format, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// Text to format.
    text: String,
    /// Style to apply.
    style: Style,
}

/// A style. CommonMark has no underline; it lets HTML through, so underline is `<u>`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Style {
    Bold,
    Italic,
    Underline,
    Code,
}

pub(super) async fn format(_: Context, Input { text, style }: Input) -> Result<String, CallError> {
    Ok(match style {
        Style::Bold => format!("**{text}**"),
        Style::Italic => format!("_{text}_"),
        Style::Underline => format!("<u>{text}</u>"),
        Style::Code => code(&text),
    })
}

/// A code span is fenced by more backticks than it holds in a row; one that begins or ends with a
/// backtick is padded, which readers take off again.
fn code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{text}{pad}{fence}")
}
