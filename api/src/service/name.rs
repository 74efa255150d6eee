//! Names that a contract's clients choose freely.
//!
//! A tool's name addresses it, in paths too, and holds neither spaces nor accents. Contracts whose
//! clients say "Team Slack" mean a title; the name is made of it, always the same one.

use toolroom_domain::{limits::NAME_CHARS, name};

/// A name, and what people call it where that is another text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) title: Option<String>,
}

impl Named {
    /// What a free text names.
    pub(crate) fn of(text: &str) -> Self {
        if name::check(text).is_ok() {
            return Self {
                name: text.to_owned(),
                title: None,
            };
        }
        Self {
            name: slug(text),
            title: Some(text.to_owned()),
        }
    }
}

/// Letters and digits in lower case with `_` between the words. What this cannot make a name of is
/// for the rule of names to refuse.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for character in text.trim().chars() {
        match character {
            'a'..='z' | '0'..='9' | '-' | '.' => slug.push(character),
            'A'..='Z' => slug.push(character.to_ascii_lowercase()),
            _ if slug.ends_with('_') => {}
            _ => slug.push('_'),
        }
    }
    let slug = slug.trim_matches('_');
    if slug.is_empty() || name::check(slug).is_ok() {
        return slug.to_owned();
    }
    // All digits, reserved, shaped like an id, or too long.
    let mut prefixed = format!("tool_{slug}");
    prefixed.truncate(NAME_CHARS);
    prefixed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (String, Option<String>) {
        let named = Named::of(text);
        (named.name, named.title)
    }

    #[test]
    fn a_name_stays_and_anything_else_becomes_a_title() {
        assert_eq!(of("weather_api"), ("weather_api".into(), None));
        for (title, name) in [
            ("Team Slack", "team_slack"),
            ("  Get — Weather!", "get_weather"),
            ("Ärzte & Co.", "rzte_co."),
            ("123", "tool_123"),
            ("saved", "tool_saved"),
        ] {
            assert_eq!(of(title), (name.into(), Some(title.into())));
        }
    }

    #[test]
    fn what_it_makes_is_a_name_wherever_a_letter_is_left() {
        let long = "Every Word ".repeat(20);
        for title in [
            &*long,
            "日本 a",
            "a b",
            "job_00000000000000000000000000000007",
        ] {
            assert_eq!(name::check(&of(title).0), Ok(()), "{title}");
        }
        assert_eq!(of("日本").0, "", "the rule of names says so");
    }
}
