//! The rule for names that clients address things by.

use crate::{id::is_shaped_like_an_id, limits, violation::Violation};

/// Words that REST paths already use in the place of a tool's name.
pub const RESERVED: &[&str] = &["saved", "upload"];

/// Checks a tool's name: 1–64 of letters, digits, `_`, `-`, `.`; not all digits, not shaped like
/// an id, not reserved, so that a path segment can always be told from an id or a number.
///
/// # Errors
/// The violation, at path `name`.
pub fn check(name: &str) -> Result<(), Violation> {
    let problem = if name.is_empty() {
        "must not be empty"
    } else if name.chars().count() > limits::NAME_CHARS {
        "must have at most 64 characters"
    } else if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    {
        "may hold only letters, digits, `_`, `-` and `.`; a name for people belongs in `title`"
    } else if name.bytes().all(|b| b.is_ascii_digit()) {
        "must not be all digits, or it could not be told from a number"
    } else if name.bytes().all(|b| b == b'.') {
        "must not be only dots"
    } else if is_shaped_like_an_id(name) {
        "must not be shaped like an id"
    } else if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
        "is reserved"
    } else {
        return Ok(());
    };
    Err(Violation::new("name", problem))
}

/// Checks a short text for people: bounded, and free of control characters other than line breaks
/// and tabs.
///
/// # Errors
/// The violation, at `path`.
pub fn check_text(path: &str, text: &str, max_chars: usize) -> Result<(), Violation> {
    if text.chars().count() > max_chars {
        return Err(Violation::new(
            path,
            format!("must have at most {max_chars} characters"),
        ));
    }
    if text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        return Err(Violation::new(path, "must not hold control characters"));
    }
    Ok(())
}

/// Checks a name for people: one line, not blank.
///
/// # Errors
/// The violation, at `path`.
pub fn check_label(path: &str, text: &str, max_chars: usize) -> Result<(), Violation> {
    if text.trim().is_empty() {
        return Err(Violation::new(path, "must not be blank"));
    }
    if text.contains(['\n', '\r', '\t']) {
        return Err(Violation::new(path, "must be one line without tabs"));
    }
    check_text(path, text, max_chars)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_names_pass() {
        for name in ["format_text", "a", "Weather.v2", "x-1", "7zip"] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_that_could_be_mistaken_are_refused() {
        let id = "job_00000000000000000000000000000007";
        let long = "x".repeat(65);
        for name in [
            "", "12", "a b", "naïve", "..", "saved", "Upload", id, "a/b", &long,
        ] {
            assert!(check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_name_for_people_is_one_line() {
        assert_eq!(check_label("name", "Ärzte & Co.", 20), Ok(()));
        for text in [
            "",
            "  ",
            "a\nb",
            "a\tb",
            "a\u{7}b",
            "much too long for a name",
        ] {
            assert_eq!(check_label("name", text, 20).unwrap_err().path, "name");
        }
    }
}
