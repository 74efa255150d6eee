//! How deeply a text nests, found out before any recursive parser sees it: a parser that recurses
//! for each bracket runs out of stack on what fits easily into an allowed body.

/// The outermost field within which the brackets of a JSON text nest deeper than `limit`, if they
/// do anywhere. Text that is no JSON may be judged either way; its parser refuses it.
pub fn too_deep_field(limit: usize, text: &[u8]) -> Option<String> {
    let mut depth = Depth::new(limit);
    let mut field: &[u8] = &[];
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' => {
                let following = after_string(after);
                if depth.now == 1 {
                    let length = after.len() - following.len();
                    field = &after[..length.saturating_sub(1)];
                }
                following
            }
            _ => after,
        };
        if depth.passes(*byte) {
            return Some(String::from_utf8_lossy(field).chars().take(64).collect());
        }
    }
    None
}

/// Whether the brackets of a GraphQL document nest deeper than `limit`, those in comments, strings
/// and block strings left out.
pub fn graphql_is_deeper_than(limit: usize, text: &str) -> bool {
    let mut depth = Depth::new(limit);
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'#' => after_line(after),
            b'"' if after.starts_with(b"\"\"") => after_block_string(&after[2..]),
            b'"' => after_string(after),
            _ => after,
        };
        if depth.passes(*byte) {
            return true;
        }
    }
    false
}

struct Depth {
    now: usize,
    limit: usize,
}

impl Depth {
    fn new(limit: usize) -> Self {
        Self { now: 0, limit }
    }

    fn passes(&mut self, byte: u8) -> bool {
        match byte {
            b'[' | b'{' | b'(' => self.now += 1,
            b']' | b'}' | b')' => self.now = self.now.saturating_sub(1),
            _ => {}
        }
        self.now > self.limit
    }
}

/// What follows the string whose opening quote is passed. Neither language lets a string go over a
/// line's end.
fn after_string(text: &[u8]) -> &[u8] {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' | b'\n' | b'\r' => return &text[at + 1..],
            _ => at += 1,
        }
    }
    &[]
}

fn after_block_string(text: &[u8]) -> &[u8] {
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with(br#"\""""#) {
            at += 4;
        } else if text[at..].starts_with(br#"""""#) {
            return &text[at + 3..];
        } else {
            at += 1;
        }
    }
    &[]
}

fn after_line(text: &[u8]) -> &[u8] {
    text.iter()
        .position(|byte| matches!(byte, b'\n' | b'\r'))
        .map_or(&[], |end| &text[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_brackets_outside_strings_count() {
        assert_eq!(too_deep_field(2, br#"{"a":["[[[[\"[["]}"#), None);
        let deep = br#"{"a":["x"],"b":[["x"]]}"#;
        assert_eq!(too_deep_field(2, deep).as_deref(), Some("b"));
    }

    #[test]
    fn brackets_side_by_side_do_not_nest() {
        assert_eq!(too_deep_field(1, b"[][][][]"), None);
    }

    #[test]
    fn nothing_hides_brackets_from_the_count() {
        for document in [
            "# \"\n[[[[",
            "\"\"\"\n\"\"\" [[[[",
            "\"\\\"\" [[[[",
            "\"\"\" \\\"\"\" \"\"\" [[[[",
            "\"\" [[[[",
        ] {
            assert!(graphql_is_deeper_than(3, document), "{document}");
        }
    }

    #[test]
    fn comments_and_block_strings_do_not_count() {
        for document in [
            "# [[[[\n{ a }",
            "{ a(b: \"\"\"[[[[\n\"[[[[\"\"\") }",
            "{ a(b: \"[[[[\") }",
        ] {
            assert!(!graphql_is_deeper_than(3, document), "{document}");
        }
    }
}
