//! How large what a template reads and gives may be.

use std::io;

use minijinja::{Value, value::ValueKind};
use serde::Serialize as _;
use serde_json::ser::Formatter;
use toolroom_domain::limits::{JOB_VALUE_BYTES, JSON_VALUES};

/// What one value within another counts as beside its JSON: a `Value` has some tens of bytes, and
/// `0,` has two.
pub(super) const ITEM_BYTES: usize = 32;

const NOT_JSON: &str = "gives something that is not JSON";

/// Room for JSON that is made of values.
pub(super) struct Room {
    bytes: usize,
    values: usize,
}

impl Room {
    /// As much as one value of a job may take.
    pub(super) fn of_one_value() -> Self {
        Self {
            bytes: JOB_VALUE_BYTES,
            values: JSON_VALUES,
        }
    }

    /// Bytes that there is room for.
    pub(super) fn left(&self) -> usize {
        self.bytes
    }

    /// A value as JSON, if there is room for it.
    ///
    /// # Errors
    /// That there is not, or that the value is not JSON.
    pub(super) fn take(&mut self, value: &Value) -> Result<serde_json::Value, String> {
        let items = Items {
            left: &mut self.values,
            each: b"",
        };
        let counted = count(value, &mut self.bytes, items);
        counted.map_err(|error| match error.is_io() {
            true => Self::full(),
            false => NOT_JSON.to_owned(),
        })?;
        serde_json::to_value(value).map_err(|_| NOT_JSON.to_owned())
    }

    /// Takes a text's bytes.
    ///
    /// # Errors
    /// That there is no room for them.
    pub(super) fn take_text(&mut self, text: &str) -> Result<(), String> {
        let left = self.bytes.checked_sub(text.len());
        self.bytes = left.ok_or_else(Self::full)?;
        Ok(())
    }

    fn full() -> String {
        format!("gives more than {JSON_VALUES} values or {JOB_VALUE_BYTES} bytes in all")
    }
}

/// Bytes of a text; of a list or an object those of its JSON, and [`ITEM_BYTES`] for each value in
/// it. Counting ends at the limit.
pub(super) fn weight(value: &Value, limit: usize) -> usize {
    match value.kind() {
        ValueKind::String => value.as_str().map_or(0, str::len),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {
            let mut left = limit;
            let mut any = usize::MAX;
            let items = Items {
                left: &mut any,
                each: &[b' '; ITEM_BYTES],
            };
            match count(value, &mut left, items) {
                Err(error) if error.is_io() => limit.saturating_add(1),
                _ => limit - left,
            }
        }
        _ => ITEM_BYTES,
    }
}

/// Takes a value's JSON off what is left, without writing it anywhere.
fn count(value: &Value, left: &mut usize, items: Items<'_>) -> serde_json::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(Left(left), items);
    value.serialize(&mut serializer)
}

/// Where bytes are counted down, and go nowhere.
struct Left<'a>(&'a mut usize);

impl io::Write for Left<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.0.checked_sub(bytes.len());
        *self.0 = left.ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// JSON without spaces whose items and fields are counted, and may count as more than their bytes.
struct Items<'a> {
    left: &'a mut usize,
    each: &'static [u8],
}

impl Items<'_> {
    fn begin<W: io::Write + ?Sized>(&mut self, out: &mut W, is_first: bool) -> io::Result<()> {
        let left = self.left.checked_sub(1);
        *self.left = left.ok_or(io::ErrorKind::FileTooLarge)?;
        if !is_first {
            out.write_all(b",")?;
        }
        out.write_all(self.each)
    }
}

impl Formatter for Items<'_> {
    fn begin_array_value<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        is_first: bool,
    ) -> io::Result<()> {
        self.begin(out, is_first)
    }

    fn begin_object_key<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        is_first: bool,
    ) -> io::Result<()> {
        self.begin(out, is_first)
    }
}
