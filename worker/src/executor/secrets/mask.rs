//! Finding secrets in what is told, in whatever form they travel.
//!
//! One automaton looks for the first bytes of all forms at once, in the text as it stands and, where
//! it holds escapes, in the text that they stand for. What it finds is followed byte by byte, so that
//! the automaton stays small however long a secret is. Everything is linear in the text.

use std::{collections::HashMap, ops::Range};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// What stands where a secret stood.
pub(super) const MASK: &str = "***";

/// Bytes of a form that the automaton knows; the rest is compared where these are found.
const PREFIX_BYTES: usize = 128;

/// From this length on a secret's base64 is looked for at any place within a larger base64 text: what
/// is certain of a shorter one may be chance.
const ALIGNED_BYTES: usize = 6;

/// Bytes that may be compared beyond the beginnings of forms, for each byte of a text. Only a text
/// that is made to repeat a secret's beginning needs more, and is masked whole.
const COMPARED_FOR_EACH: usize = 8;

/// A text that must not be told.
struct Form {
    text: Zeroizing<Vec<u8>>,
    /// Whether the characters before and after hold some of its bits too.
    shares: (bool, bool),
    is_base64: bool,
}

impl Form {
    fn plain(text: &[u8]) -> Self {
        Self {
            text: Zeroizing::new(text.to_vec()),
            shares: (false, false),
            is_base64: false,
        }
    }

    fn prefix(&self) -> &[u8] {
        &self.text[..self.text.len().min(PREFIX_BYTES)]
    }
}

/// Looks for some secrets.
pub(super) struct Mask {
    finder: AhoCorasick,
    forms: Vec<Form>,
    /// Those that are numbers, which JSON may hold without quotes.
    numbers: Vec<Zeroizing<String>>,
    /// Whether it looks only for texts and numbers that are one of the values and nothing else.
    whole: bool,
}

/// Digits of a number that is masked as a whole: there are too many honest ones of fewer.
const WHOLE_DIGITS: usize = 4;

impl Mask {
    /// One that looks for these values; none, if there is nothing to look for.
    pub(super) fn of<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        let (mut forms, mut numbers) = (Vec::new(), Vec::new());
        for value in values.filter(|value| !value.is_empty()) {
            forms_of(value, &mut forms);
            if serde_json::from_str::<serde_json::Number>(value).is_ok() {
                numbers.push(Zeroizing::new(value.to_owned()));
            }
        }
        let prefixes = forms.iter().map(Form::prefix);
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(prefixes)
            .ok()?;
        (!forms.is_empty()).then_some(Self {
            finder,
            forms,
            numbers,
            whole: false,
        })
    }

    /// One that looks for texts and numbers that are one of these values and nothing else.
    pub(super) fn whole<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut mask = Self::of(values)?;
        mask.whole = true;
        mask.numbers.retain(|number| number.len() >= WHOLE_DIGITS);
        Some(mask)
    }

    /// The text without the secrets; none where it holds none.
    pub(super) fn masked(&self, text: &str) -> Option<String> {
        let masked = self.looked_through(text);
        masked.filter(|masked| !self.whole || masked == MASK)
    }

    fn looked_through(&self, text: &str) -> Option<String> {
        let bytes = text.as_bytes();
        let mut found = Vec::new();
        let mut whole = !self.find(bytes, |range| found.push(range));
        for (escape, view) in [(b'%', unpercented as fn(&[u8]) -> View), (b'\\', unescaped)] {
            if bytes.contains(&escape) {
                let view = view(bytes);
                whole |= !self.find(&view.bytes, |range| found.push(view.origin(&range)));
            }
        }
        if whole {
            return Some(MASK.to_owned());
        }
        (!found.is_empty()).then(|| replaced(text, found))
    }

    /// Masks the secrets in all texts of a value, the names of fields too.
    pub(super) fn mask_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(masked) = self.masked(text) {
                    *text = masked;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_value(item)),
            Value::Object(fields) => self.mask_fields(fields),
            Value::Number(number) if !self.numbers.is_empty() => {
                let text = Zeroizing::new(number.to_string());
                if self.numbers.contains(&text) {
                    *value = Value::String(MASK.to_owned());
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn mask_fields(&self, fields: &mut Map<String, Value>) {
        fields.values_mut().for_each(|field| self.mask_value(field));
        if fields.keys().all(|name| self.masked(name).is_none()) {
            return;
        }
        // Where the search of another name goes on: a service can write a secret in many ways, and
        // from its beginning the search would take as many steps as there were names before.
        let mut counts: HashMap<String, usize> = HashMap::new();
        for (name, field) in std::mem::take(fields) {
            let shown = self.masked(&name).unwrap_or(name);
            // Two names may look the same without their secrets; neither field is lost.
            let mut free = shown.clone();
            while fields.contains_key(&free) {
                let count = counts.entry(shown.clone()).or_insert(1);
                *count += 1;
                free = format!("{shown} ({count})");
            }
            fields.insert(free, field);
        }
    }

    /// Tells each place that holds a secret; false where there are more than can be looked at.
    fn find(&self, bytes: &[u8], mut tell: impl FnMut(Range<usize>)) -> bool {
        let mut allowance = bytes.len().saturating_mul(COMPARED_FOR_EACH);
        for found in self.finder.find_overlapping_iter(bytes) {
            let form = &self.forms[found.pattern().as_usize()];
            let known = found.end() - found.start();
            let more = form.text[known..]
                .iter()
                .zip(&bytes[found.end()..])
                .take_while(|(a, b)| a == b)
                .count();
            match allowance.checked_sub(more) {
                Some(left) => allowance = left,
                None => return false,
            }
            let mut range = found.start()..found.end() + more;
            if form.is_base64 {
                widen(&mut range, bytes, form, known + more == form.text.len());
            }
            tell(range);
        }
        true
    }
}

/// The forms in which a value travels that are not mere escapes of it.
fn forms_of(value: &str, forms: &mut Vec<Form>) {
    let from = forms.len();
    let mut add = |form: Form| {
        if !forms[from..]
            .iter()
            .any(|known: &Form| known.text == form.text)
        {
            forms.push(form);
        }
    };
    add(Form::plain(value.as_bytes()));
    if value.contains(' ') {
        // What is sent as a form has its spaces so.
        add(Form::plain(value.replace(' ', "+").as_bytes()));
    }
    let markup = value
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    for quoted in [
        markup.replace('"', "&quot;"),
        markup.replace('\'', "&#39;"),
        markup,
    ] {
        add(Form::plain(quoted.as_bytes()));
    }
    if value.len() < ALIGNED_BYTES {
        add(Form::plain(STANDARD.encode(value).as_bytes()));
        return;
    }
    for shift in 0..3 {
        for form in encoded(value.as_bytes(), shift) {
            add(form);
        }
    }
}

/// The characters that base64, in both alphabets, has for these bytes wherever they begin `shift`
/// bytes after a group of three does.
fn encoded(value: &[u8], shift: usize) -> [Form; 2] {
    let mut shifted = Zeroizing::new(vec![0; shift]);
    shifted.extend_from_slice(value);
    let bits = shifted.len() * 8;
    // Six bits a character: those in between hold nothing but the value.
    let (first, last) = ((shift * 8).div_ceil(6), bits / 6);
    [
        STANDARD_NO_PAD.encode(&*shifted),
        URL_SAFE_NO_PAD.encode(&*shifted),
    ]
    .map(|text| {
        let text = Zeroizing::new(text);
        Form {
            text: Zeroizing::new(text.as_bytes()[first..last].to_vec()),
            shares: (shift > 0, !bits.is_multiple_of(6)),
            is_base64: true,
        }
    })
}

/// Takes in the characters at both ends that hold some bits of the secret, and the padding.
fn widen(range: &mut Range<usize>, bytes: &[u8], form: &Form, is_whole: bool) {
    let is_digit =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    if form.shares.0 && range.start > 0 && is_digit(&bytes[range.start - 1]) {
        range.start -= 1;
    }
    if is_whole {
        if form.shares.1 && bytes.get(range.end).is_some_and(is_digit) {
            range.end += 1;
        }
        while bytes.get(range.end) == Some(&b'=') {
            range.end += 1;
        }
    }
}

/// A place in a text. No text that is masked comes near 4 GiB.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// A text in which escapes are what they stand for.
struct View {
    bytes: Zeroizing<Vec<u8>>,
    /// Where each byte begins in the text, and the end of the text.
    begins: Vec<u32>,
}

impl View {
    fn of(text: &[u8], escape: u8, read: impl Fn(&[u8], &mut Vec<u8>) -> Option<usize>) -> Self {
        let mut view = Self {
            bytes: Zeroizing::new(Vec::with_capacity(text.len())),
            begins: Vec::with_capacity(text.len() + 1),
        };
        let mut at = 0;
        while at < text.len() {
            let plain = text[at..].iter().position(|byte| *byte == escape);
            let run = at..plain.map_or(text.len(), |plain| at + plain);
            view.bytes.extend_from_slice(&text[run.clone()]);
            view.begins.extend(run.clone().map(offset));
            at = run.end;
            let Some(rest) = text.get(at + 1..) else {
                break;
            };
            let length = read(rest, &mut view.bytes).unwrap_or_else(|| {
                view.bytes.push(escape);
                0
            });
            view.begins.resize(view.bytes.len(), offset(at));
            at += 1 + length;
        }
        view.begins.push(offset(text.len()));
        view
    }

    fn origin(&self, range: &Range<usize>) -> Range<usize> {
        self.begins[range.start] as usize..self.begins[range.end] as usize
    }
}

/// As a URL writes it, in upper-case or lower-case digits.
fn unpercented(text: &[u8]) -> View {
    View::of(text, b'%', |rest, out| {
        let digit = |at: usize| char::from(*rest.get(at)?).to_digit(16);
        let byte = digit(0)? * 16 + digit(1)?;
        out.push(u8::try_from(byte).ok()?);
        Some(2)
    })
}

/// As JSON writes it, and most languages do.
fn unescaped(text: &[u8]) -> View {
    View::of(text, b'\\', |rest, out| {
        let plain = match rest.first()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            sign @ (b'"' | b'\\' | b'/' | b'\'') => *sign,
            b'u' => return unescaped_unit(&rest[1..], out).map(|length| length + 1),
            _ => return None,
        };
        out.push(plain);
        Some(1)
    })
}

/// One or, where they belong together, two units of UTF-16 after `\u`.
fn unescaped_unit(rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let unit = |at: usize| {
        let digits = std::str::from_utf8(rest.get(at..at + 4)?).ok()?;
        u16::from_str_radix(digits, 16).ok()
    };
    let first = unit(0)?;
    let second = match rest.get(4..6) {
        Some(b"\\u") if (0xD800..0xDC00).contains(&first) => unit(6),
        _ => None,
    };
    let units = [Some(first), second];
    let read = char::decode_utf16(units.into_iter().flatten())
        .next()?
        .ok()?;
    out.extend_from_slice(read.encode_utf8(&mut [0; 4]).as_bytes());
    Some(if second.is_some() { 10 } else { 4 })
}

/// The text with these places masked; places that overlap or touch are one.
fn replaced(text: &str, mut found: Vec<Range<usize>>) -> String {
    found.sort_unstable_by_key(|range| range.start);
    let mut out = String::with_capacity(text.len());
    let mut told = 0;
    let mut ranges = found.into_iter().peekable();
    while let Some(mut range) = ranges.next() {
        while let Some(next) = ranges.next_if(|next| next.start <= range.end) {
            range.end = range.end.max(next.end);
        }
        // What was followed may have parted within a character.
        range.start = text.floor_char_boundary(range.start);
        range.end = text.ceil_char_boundary(range.end);
        out.push_str(text.get(told..range.start).unwrap_or_default());
        out.push_str(MASK);
        told = told.max(range.end);
    }
    out.push_str(&text[told..]);
    out
}

#[cfg(test)]
mod tests;
