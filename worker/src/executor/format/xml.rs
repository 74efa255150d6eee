//! XML as JSON: elements become objects of their attributes (`@name`) and children, texts where they
//! have neither; children of one name become a list; text beside others is `#text`.
//!
//! Entities are not followed, neither those that a document declares nor what lies elsewhere: only
//! the five of XML itself and character references stand for anything.

use quick_xml::{
    Reader, XmlVersion,
    escape::resolve_xml_entity,
    events::{BytesRef, BytesStart, Event},
};
use serde_json::{Map, Value};
use toolroom_domain::limits;

use super::Count;

/// An element that has not ended.
struct Open {
    name: String,
    fields: Map<String, Value>,
    text: String,
}

/// Reads a document as an object of its root element.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let mut reader = Reader::from_str(text);
    let mut count = Count(0);
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    loop {
        // The reader's messages may hold names and texts; positions do not.
        let event = reader.read_event();
        let at = reader.buffer_position();
        let event = event.map_err(|_| format!("it cannot be read at byte {at}"))?;
        match event {
            Event::Start(start) => {
                if root.is_some() {
                    return Err("it has more than one root".to_owned());
                }
                open.push(begun(&start, &mut count)?);
                // Attributes and text lie one level below their element.
                if open.len() + 1 >= limits::JSON_DEPTH {
                    return Err(format!("it nests more than {} levels", limits::JSON_DEPTH));
                }
            }
            Event::Empty(start) if root.is_none() => {
                let element = begun(&start, &mut count)?;
                close(element, &mut open, &mut root);
            }
            Event::Empty(_) => return Err("it has more than one root".to_owned()),
            Event::End(_) => {
                let Some(element) = open.pop() else {
                    return Err(format!("an element ends that has not begun, at byte {at}"));
                };
                close(element, &mut open, &mut root);
            }
            Event::Text(text) => put(&mut open, &text.xml10_content())?,
            Event::CData(text) => put(&mut open, &text.xml10_content())?,
            Event::GeneralRef(reference) => {
                let text = resolved(&reference)?;
                put(&mut open, &text)?;
            }
            Event::DocType(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    match root {
        Some(root) if open.is_empty() => Ok(root),
        _ => Err("it ends before its elements do".to_owned()),
    }
}

fn begun(start: &BytesStart<'_>, count: &mut Count) -> Result<Open, String> {
    count.add()?;
    let mut fields = Map::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| "an attribute cannot be read".to_owned())?;
        count.add()?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0);
        let value = value.map_err(|_| entity_problem())?;
        let name = format!("@{}", attribute.key.as_ref());
        fields.insert(name, Value::String(value.into_owned()));
    }
    Ok(Open {
        name: start.name().as_ref().to_owned(),
        fields,
        text: String::new(),
    })
}

fn put(open: &mut [Open], text: &str) -> Result<(), String> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err("it has text outside of its root".to_owned()),
    }
    Ok(())
}

fn resolved(reference: &BytesRef<'_>) -> Result<String, String> {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return Ok(character.to_string());
    }
    let known = resolve_xml_entity(reference).map(str::to_owned);
    known.ok_or_else(entity_problem)
}

fn entity_problem() -> String {
    "it names an entity; only the five of XML itself are known".to_owned()
}

fn close(element: Open, open: &mut [Open], root: &mut Option<Value>) {
    let Open {
        name,
        mut fields,
        text,
    } = element;
    let text = text.trim();
    let value = if fields.is_empty() {
        text.into()
    } else {
        if !text.is_empty() {
            fields.insert("#text".to_owned(), text.into());
        }
        Value::Object(fields)
    };
    let Some(parent) = open.last_mut() else {
        *root = Some(Value::Object(Map::from_iter([(name, value)])));
        return;
    };
    match parent.fields.get_mut(&name) {
        None => {
            parent.fields.insert(name, value);
        }
        // An element is never a list of itself.
        Some(Value::Array(list)) => list.push(value),
        Some(one) => {
            let first = one.take();
            *one = Value::Array(vec![first, value]);
        }
    }
}

/// The encoding that the declaration in a document's first line names.
pub(super) fn declared_encoding(body: &[u8]) -> Option<&str> {
    let declaration = body.strip_prefix(b"<?xml")?;
    let end = declaration
        .iter()
        .take(200)
        .position(|byte| *byte == b'>')?;
    let declaration = std::str::from_utf8(&declaration[..end]).ok()?;
    let (_, after) = declaration.split_once("encoding")?;
    let after = after.trim_start().strip_prefix('=')?.trim_start();
    let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    after[1..].split(quote).next()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_become_objects_texts_and_lists() {
        let document = r#"<?xml version="1.0"?>
            <!DOCTYPE rss>
            <rss version="2.0"><!-- news -->
              <title>A &amp; B &#x263A;</title>
              <item id="1"><name>x</name></item>
              <item id="2"> <![CDATA[<raw>]]> </item>
              <empty/>
              <p>one <b>two</b> three</p>
            </rss>"#;
        assert_eq!(
            read(document),
            Ok(json!({"rss": {
                "@version": "2.0",
                "title": "A & B ☺",
                "item": [{"@id": "1", "name": "x"}, {"@id": "2", "#text": "<raw>"}],
                "empty": "",
                "p": {"b": "two", "#text": "one  three"},
            }}))
        );
    }

    #[test]
    fn a_list_of_lists_stays_one() {
        let read = read("<a><b><b>1</b><b>2</b></b><b>3</b><b>4</b></a>");
        assert_eq!(read, Ok(json!({"a": {"b": [{"b": ["1", "2"]}, "3", "4"]}})));
    }

    #[test]
    fn bombs_are_refused_at_once() {
        let mut laughs = "<!DOCTYPE x [<!ENTITY a0 \"ha\">".to_owned();
        for i in 1..30 {
            let earlier = i - 1;
            laughs.push_str(&format!("<!ENTITY a{i} \"&a{earlier};&a{earlier};\">"));
        }
        let begun = Instant::now();
        for bomb in [
            format!("{laughs}]><x>&a29;</x>"),
            format!("{laughs}]><x y='&a29;'/>"),
            "<!DOCTYPE x [<!ENTITY f SYSTEM \"file:///etc/passwd\">]><x>&f;</x>".to_owned(),
            "<!DOCTYPE x [<!ENTITY f SYSTEM \"http://127.0.0.1/\">]><x>&f;</x>".to_owned(),
        ] {
            assert_eq!(read(&bomb), Err(entity_problem()));
        }
        let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
        assert_eq!(read(&deep), Err("it nests more than 64 levels".to_owned()));
        let wide = format!("<a>{}</a>", "<b/>".repeat(super::super::VALUES + 1));
        assert_eq!(
            read(&wide),
            Err("it holds more than 200000 values".to_owned())
        );
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_is_no_document_is_refused_without_its_content() {
        for text in [
            "",
            "hunter2",
            "<hunter2>",
            "<a></hunter2>",
            "<a/><hunter2/>",
            "<a/>hunter2",
            "<a hunter2></a>",
            "<a>&hunter2;</a>",
            "<a b='1' b='2'/>",
            "</a>",
            "<a><b></a></b>",
        ] {
            let problem = read(text).unwrap_err();
            assert!(!problem.contains("hunter2"), "{text}: {problem}");
        }
    }

    #[test]
    fn a_declaration_names_its_encoding() {
        let of = |text: &'static str| declared_encoding(text.as_bytes());
        assert_eq!(
            of("<?xml version='1.0' encoding='ISO-8859-1'?><a/>"),
            Some("ISO-8859-1")
        );
        assert_eq!(
            of("<?xml version=\"1.0\" encoding = \"latin1\" ?>"),
            Some("latin1")
        );
        assert_eq!(of("<?xml version='1.0'?><a encoding='x'/>"), None);
        assert_eq!(of("<a encoding='x'/>"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_document_or_an_error(text in "[<>/!\\[\\]&;#?='\"a-c -]{0,60}") {
            if let Ok(value) = read(&text) {
                prop_assert!(toolroom_domain::tool::depth(&value) <= limits::JSON_DEPTH);
            }
        }
    }
}
