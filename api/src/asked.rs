//! What a command asked for, to be compared when its id comes again.

use std::io;

use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;

/// Up to so many bytes what was asked for is told as it is. No request could be longer before large
/// values were taken, so what is remembered of an older server still compares.
const WHOLE_BYTES: usize = 2 * 1024 * 1024;

/// Gathers what is short, and hashes what is not: what is asked for is copied with its command.
struct Gathering {
    whole: Vec<u8>,
    hashed: Option<Context>,
}

impl io::Write for Gathering {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.hashed.is_none() && self.whole.len() + bytes.len() > WHOLE_BYTES {
            let mut context = Context::new(&SHA256);
            context.update(&self.whole);
            self.whole = Vec::new();
            self.hashed = Some(context);
        }
        match &mut self.hashed {
            Some(context) => context.update(bytes),
            None => self.whole.extend_from_slice(bytes),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is asked for in a form that is the same for the same request, or its digest where that is long.
///
/// # Errors
/// When it cannot be serialised.
pub(crate) fn asked(request: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut gathering = Gathering {
        whole: Vec::new(),
        hashed: None,
    };
    serde_json::to_writer(&mut gathering, request)?;
    Ok(match gathering.hashed {
        Some(context) => [b"sha256:", context.finish().as_ref()].concat(),
        None => gathering.whole,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_told_by_its_digest() {
        let short = asked(&("executeTool", "x")).unwrap();
        assert_eq!(short, br#"["executeTool","x"]"#);
        let long = "y".repeat(WHOLE_BYTES);
        let digest = asked(&("executeTool", &long)).unwrap();
        assert_eq!(digest.len(), b"sha256:".len() + 32);
        assert_eq!(digest, asked(&("executeTool", &long)).unwrap());
        assert_ne!(digest, asked(&("submitJob", &long)).unwrap());
    }
}
