//! CSV (RFC 4180) with a line of headers.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::Count;

/// Reads rows as objects of texts. The delimiter is whichever of `,`, `;` and tab the first line
/// holds most of.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = ::csv::ReaderBuilder::new()
        .delimiter(delimiter(text))
        .from_reader(text.as_bytes());
    let (mut rows, mut count) = (Vec::new(), Count(0));
    let names = names(reader.headers().map_err(|e| words(&e))?, &mut count)?;
    for record in reader.records() {
        let record = record.map_err(|e| words(&e))?;
        let mut row = Map::with_capacity(names.len());
        for (name, cell) in names.iter().zip(&record) {
            count.add()?;
            row.insert(name.clone(), cell.into());
        }
        rows.push(Value::Object(row));
    }
    Ok(Value::Array(rows))
}

fn delimiter(text: &str) -> u8 {
    let line = text.lines().next().unwrap_or_default().as_bytes();
    let occurrences = |delimiter: u8| line.iter().filter(|byte| **byte == delimiter).count();
    // Of equals, the last is taken: a comma, unless another is more frequent.
    let candidates = [b'\t', b';', b','];
    candidates
        .into_iter()
        .max_by_key(|delimiter| occurrences(*delimiter))
        .unwrap_or(b',')
}

/// A column without a name, or with that of an earlier one, gets one of its own.
fn names(headers: &::csv::StringRecord, count: &mut Count) -> Result<Vec<String>, String> {
    let mut taken = HashSet::new();
    // Where the search of another name for a header goes on: from its beginning it would take as
    // many steps as there were columns of that name before.
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let named = headers.iter().enumerate().map(|(i, header)| {
        count.add()?;
        let header = header.trim();
        let mut name = if header.is_empty() {
            format!("column_{}", i + 1)
        } else {
            header.to_owned()
        };
        while !taken.insert(name.clone()) {
            let number = numbers.entry(header).or_insert(1);
            *number += 1;
            name = format!("{header}_{number}");
        }
        Ok(name)
    });
    named.collect()
}

/// The reader's messages may hold cells; places and lengths do not.
fn words(error: &::csv::Error) -> String {
    let line = error.position().map_or(0, ::csv::Position::line);
    match error.kind() {
        ::csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("line {line} has {len} cells and the first has {expected_len}")
        }
        _ => format!("line {line} cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_become_objects_whatever_the_delimiter() {
        let rows = json!([{"id": "1", "name": "a,\"b\"\nc"}, {"id": "2", "name": ""}]);
        for (text, delimiter) in [
            ("id,name\r\n1,\"a,\"\"b\"\"\nc\"\r\n2,\r\n", ","),
            ("", ";"),
        ] {
            let text = match delimiter {
                ";" => "\u{feff}id;name\n1;\"a,\"\"b\"\"\nc\"\n2;\n",
                _ => text,
            };
            assert_eq!(read(text), Ok(rows.clone()));
        }
        assert_eq!(read("a\tb\n1\t2"), Ok(json!([{"a": "1", "b": "2"}])));
        assert_eq!(read("a,b\n"), Ok(json!([])));
        assert_eq!(read(""), Ok(json!([])));
    }

    #[test]
    fn columns_keep_apart() {
        assert_eq!(
            read("a,a,,a\n1,2,3,4"),
            Ok(json!([{"a": "1", "a_2": "2", "column_3": "3", "a_3": "4"}]))
        );
    }

    /// Not a measurement, but a bound that only something worse than linear breaks.
    #[test]
    fn many_columns_of_one_name_are_no_trouble() {
        let started = std::time::Instant::now();
        let columns = read(&format!("{}a", "a,".repeat(99_999))).unwrap();
        assert_eq!(columns, json!([]));
        let taken: Vec<_> = (2..50_000).map(|i| format!("a_{i}")).collect();
        let rows = format!("{0},{1}a\n", taken.join(","), "a,".repeat(50_000));
        assert_eq!(read(&rows), Ok(json!([])));
        assert!(started.elapsed().as_secs() < 10);
    }

    #[test]
    fn more_columns_than_values_may_be_are_refused() {
        assert_eq!(
            read(&"a,".repeat(super::super::VALUES)),
            Err("it holds more than 200000 values".to_owned())
        );
    }

    #[test]
    fn what_is_ragged_or_too_much_is_refused_without_its_content() {
        assert_eq!(
            read("a,b\n1,2\nhunter2\n"),
            Err("line 3 has 1 cells and the first has 2".to_owned())
        );
        let many = format!("a\n{}", "1\n".repeat(super::super::VALUES + 1));
        assert_eq!(
            read(&many),
            Err("it holds more than 200000 values".to_owned())
        );
    }
}
