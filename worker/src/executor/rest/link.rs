//! `Link` headers (RFC 8288, section 3), as far as they lead to the next page.

use reqwest::header::{HeaderMap, LINK};

/// The target of the first link whose relation is `next`, as it is written: it may be relative.
pub(super) fn next(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(LINK).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .find_map(next_of)
}

fn next_of(value: &str) -> Option<&str> {
    let mut rest = value;
    loop {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        let (parameters, after) = parameters(after);
        if parameters.iter().any(|parameter| is_next(parameter)) {
            return Some(target);
        }
        rest = after;
    }
}

/// The parameters up to the comma that ends the link, and what follows; neither commas nor
/// semicolons within quotes count.
fn parameters(text: &str) -> (Vec<&str>, &str) {
    let (mut quoted, mut escaped) = (false, false);
    let (mut parameters, mut begin) = (Vec::new(), 0);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' | ',' if !quoted => {
                parameters.push(&text[begin..i]);
                begin = i + 1;
                if c == ',' {
                    return (parameters, &text[begin..]);
                }
            }
            _ => {}
        }
    }
    parameters.push(&text[begin..]);
    (parameters, "")
}

fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else {
        return false;
    };
    let relations = value.trim().trim_matches('"');
    name.trim().eq_ignore_ascii_case("rel")
        && relations
            .split_ascii_whitespace()
            .any(|relation| relation.eq_ignore_ascii_case("next"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        for (value, target) in [
            (
                "<https://a.test/?page=2>; rel=\"next\", <https://a.test/?page=9>; rel=\"last\"",
                Some("https://a.test/?page=2"),
            ),
            (
                "<?p=1>; rel=prev, <?p=3,4;x>; title=\"a, <b>; rel=next\"; REL=Next",
                Some("?p=3,4;x"),
            ),
            (
                "</x>; title=\"\\\"; rel=next\"; rel=\"last first\", </y>; rel=\"up next\"",
                Some("/y"),
            ),
            ("<https://a.test/>; rel=\"nextish\"", None),
            ("https://a.test/; rel=next", None),
            ("<https://a.test/", None),
            ("", None),
        ] {
            assert_eq!(next_of(value), target, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read(value in "[<>;,=\"\\\\ a-zA-Z]{0,60}") {
            let _ = next_of(&value);
        }
    }
}
