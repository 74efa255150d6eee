use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn mask(values: &[&str]) -> Mask {
    Mask::of(values.iter().copied()).unwrap()
}

fn masked(mask: &Mask, text: &str) -> String {
    mask.masked(text).unwrap_or_else(|| text.to_owned())
}

/// What encoders of components leave as it is.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');
const QUERY: &AsciiSet = &CONTROLS
    .add(b'%')
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>');

fn all_u_escaped(text: &str) -> String {
    text.encode_utf16()
        .map(|unit| format!("\\u{unit:04x}"))
        .collect()
}

fn in_lower_digits(percented: &str) -> String {
    let mut parts = percented.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (digits, rest) = part.split_at(2);
        format!("{text}%{}{rest}", digits.to_lowercase())
    })
}

/// Every form in which a service may say back what it was sent.
fn travelling(secret: &str) -> Vec<String> {
    let quoted = Value::from(secret).to_string();
    let quoted = quoted[1..quoted.len() - 1].to_owned();
    let percented: Vec<_> = [NON_ALPHANUMERIC, COMPONENT, QUERY]
        .map(|set| utf8_percent_encode(secret, set).to_string())
        .into();
    let lower: Vec<_> = percented.iter().map(|text| in_lower_digits(text)).collect();
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut all = vec![
        secret.to_owned(),
        quoted.replace('/', "\\/"),
        quoted,
        all_u_escaped(secret),
        form,
        STANDARD.encode(secret),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
    ];
    all.extend(percented);
    all.extend(lower);
    all
}

#[test]
fn short_secrets_are_found_as_they_are_and_as_base64() {
    let mask = mask(&["pin1"]);
    assert_eq!(masked(&mask, "a pin1, or cGluMQ=="), "a ***, or ***");
    assert_eq!(mask.masked("pin 1"), None);
}

#[test]
fn the_longest_of_secrets_within_each_other_goes() {
    let mask = mask(&["sesame", "sesame-open", "open-wide"]);
    assert_eq!(masked(&mask, "<sesame-open-wide>"), "<***>");
}

#[test]
fn a_long_secret_is_followed_to_its_end_and_as_far_as_it_is_said() {
    let secret: String = (0..20_000).map(|i| format!("{i}ä")).collect();
    let mask = mask(&[&secret]);
    assert_eq!(masked(&mask, &format!("<{secret}>")), "<***>");
    let part = &secret[..secret.floor_char_boundary(1_000)];
    assert_eq!(masked(&mask, &format!("<{part}>")), "<***>");
    assert_eq!(
        masked(&mask, &format!("<{}>", STANDARD.encode(&secret))),
        "<***>"
    );
}

#[test]
fn names_of_fields_and_numbers_are_masked_and_none_is_lost() {
    let mask = mask(&["sesame-open", "12345678"]);
    let mut value = json!({
        "sesame-open": 1, "c2VzYW1lLW9wZW4=": 2, "n": 12345678, "m": 123456789, "ok": [true, null],
        "deep": [{"x": "to sesame%2Dopen it"}],
    });
    mask.mask_value(&mut value);
    assert_eq!(
        value,
        json!({
            "***": 2, "*** (2)": 1, "n": "***", "m": 123456789, "ok": [true, null],
            "deep": [{"x": "to *** it"}],
        })
    );
}

#[test]
fn a_text_that_is_made_to_be_hard_is_masked_whole_and_soon() {
    let secret = "a".repeat(64 * 1024);
    let mask = mask(&[&secret]);
    let text = "a".repeat(1024 * 1024);
    assert_eq!(masked(&mask, &text), MASK);
}

/// Not a measurement, but a bound that only something worse than linear breaks.
#[test]
fn large_texts_are_no_trouble() {
    let secrets: Vec<String> = (0..8).map(|i| format!("secret-value-number-{i}")).collect();
    let mask = Mask::of(secrets.iter().map(String::as_str)).unwrap();
    let text = "lorem ipsum dolor sit amet %20 consectetur \\n ".repeat(20_000);
    let started = std::time::Instant::now();
    assert_eq!(mask.masked(&text), None);
    assert!(started.elapsed().as_secs() < 20);
}

/// Not a measurement, but a bound that only something worse than linear breaks.
#[test]
fn a_secret_written_in_many_ways_is_masked_soon() {
    let secret = "sesame-open-sesame";
    let mask = mask(&[secret]);
    let spelt = |ways: u32| {
        let letters = secret.chars().enumerate();
        let written = letters.map(|(i, letter)| match ways >> i & 1 {
            1 => format!("%{:02x}", u32::from(letter)),
            _ => letter.to_string(),
        });
        written.collect::<String>()
    };
    let fields: Map<String, Value> = (0..100_000).map(|i| (spelt(i), i.into())).collect();
    assert_eq!(fields.len(), 100_000);
    let (mut value, started) = (Value::Object(fields), std::time::Instant::now());
    mask.mask_value(&mut value);
    let masked = value.as_object().unwrap();
    assert_eq!(masked.len(), 100_000);
    assert!(masked.contains_key("*** (100000)"));
    assert!(started.elapsed().as_secs() < 60);
}

proptest! {
    #[test]
    fn no_form_of_a_secret_survives(
        secret in "[ -~äß€😀\n\t]{6,40}",
        around in "[A-Z ]{0,5}",
    ) {
        let mask = mask(&[&secret]);
        for form in travelling(&secret) {
            let text = format!("<{around}{form}{around}>");
            let shown = masked(&mask, &text);
            prop_assert!(!shown.contains(&form), "{form:?} in {text:?} shows as {shown:?}");
            prop_assert!(shown.len() <= text.len().max(around.len() * 2 + 5));
            prop_assert!(shown.starts_with('<') && shown.ends_with('>'), "{shown:?}");
        }
    }

    #[test]
    fn no_base64_of_a_larger_text_holds_a_secret(
        before in proptest::collection::vec(any::<u8>(), 0..20),
        secret in "[ -~]{8,40}",
        after in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mask = mask(&[&secret]);
        let whole = [&before, secret.as_bytes(), &after].concat();
        for text in [STANDARD.encode(&whole), STANDARD_NO_PAD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)] {
            let shown = masked(&mask, &text);
            prop_assert!(shown.contains(MASK), "{text}");
            // What is left is what stood around it, to less than a character.
            let left = shown.len() - MASK.len();
            prop_assert!(left <= (before.len() + after.len()) * 4 / 3 + 5, "{text} as {shown}");
        }
    }

    #[test]
    fn texts_without_secrets_stay(text in "\\PC{0,200}") {
        let mask = mask(&["a secret that is nowhere"]);
        prop_assert_eq!(mask.masked(&text), None);
    }
}
