//! What looks like a placeholder and is none: older definitions write `{id}` and mean `{{ id }}`.

/// The name within the first single braces, as `id` in `/users/{id}`.
pub(super) fn single_braces(source: &str) -> Option<&str> {
    named(source, |before| before != Some('{') && before != Some('$'))
}

/// The name within the first `${NAME}`, which is a secret's where secrets are understood.
pub(super) fn secret(source: &str) -> Option<&str> {
    named(source, |before| before == Some('$'))
}

fn named(source: &str, before: impl Fn(Option<char>) -> bool) -> Option<&str> {
    source.match_indices('{').find_map(|(open, _)| {
        let inner = &source[open + 1..];
        let (name, after) = inner.split_once('}')?;
        let first = name.chars().next()?;
        let is_name = (first.is_ascii_alphabetic() || first == '_')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        let alone = before(source[..open].chars().next_back()) && !after.starts_with('}');
        (is_name && alone).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_braces_are_told_from_templates_and_json() {
        for (source, name) in [
            ("/users/{id}", Some("id")),
            ("/{{ a }}/{user_id}/x", Some("user_id")),
            ("{{id}}", None),
            ("{{ id }}/{{ {'a': 1}.a }}", None),
            ("{\"a\": 1}", None),
            ("${API_KEY}", None),
            ("{}", None),
            ("{", None),
            ("a}b{", None),
        ] {
            assert_eq!(single_braces(source), name, "{source}");
        }
        assert_eq!(secret("Bearer ${API_KEY}"), Some("API_KEY"));
        assert_eq!(secret("{API_KEY} {{ x }} $5"), None);
    }
}
