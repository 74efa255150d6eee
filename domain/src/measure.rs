//! How much a JSON text will take in memory, found out before it is parsed.

/// How many values a JSON text holds, at the most: what opens a list or an object, and what stands
/// behind a comma. Text that is no JSON gives any number; its parser refuses it.
pub fn json_values(text: &[u8]) -> usize {
    let mut values = 1;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' | b',' => values += 1,
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => _ = bytes.next(),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    values
}

/// Whether a JSON text holds more values than fit: a text of 2 MiB or less may hold what it likes.
pub fn has_too_many_values(text: &[u8]) -> bool {
    text.len() > 2 * crate::limits::JSON_VALUES && json_values(text) > crate::limits::JSON_VALUES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::JSON_VALUES;

    #[test]
    fn values_are_counted_outside_of_strings() {
        assert_eq!(json_values(b"1"), 1);
        assert_eq!(json_values(br#"["a,[{\",", {"b": 1}]"#), 4);
    }

    #[test]
    fn only_a_large_text_can_hold_too_many() {
        let zeros = |count: usize| format!("[0{}]", ",0".repeat(count));
        assert!(!has_too_many_values(zeros(JSON_VALUES - 2).as_bytes()));
        assert!(has_too_many_values(zeros(JSON_VALUES).as_bytes()));
        let text = format!("\"{}\"", ",".repeat(3 * JSON_VALUES));
        assert!(!has_too_many_values(text.as_bytes()));
    }
}
