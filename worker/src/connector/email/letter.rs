//! The letter itself.

use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use lettre::{
    Message,
    address::Address,
    message::{
        Attachment as Part, Body, Mailbox, Mailboxes, MessageBuilder, MultiPart, SinglePart,
        header::{ContentTransferEncoding, ContentType},
    },
};
use serde_json::{Value, json};

use super::{
    server::{ADDRESS_CHARS, mailbox},
    template::{self, Words},
};
use crate::executor::{CallError, rest::Templates};

/// Recipients of one letter: what common servers take at once.
const RECIPIENTS: usize = 100;
/// Bytes of all attachments: as Base64 in a letter they are a third more, and common servers take
/// letters of up to 20 to 25 MiB.
const ATTACHED_BYTES: usize = 10 * 1024 * 1024;
/// Characters of a file's name.
const FILE_NAME_CHARS: usize = 255;
/// Characters of a subject: one line of a letter, encoded.
const SUBJECT_CHARS: usize = 900;

/// A letter, written.
pub(super) struct Letter {
    sender: Address,
    recipients: Vec<Address>,
    message_id: String,
    bytes: Vec<u8>,
    shown: Value,
}

impl Letter {
    /// Writes the letter of an input.
    ///
    /// # Errors
    /// What is wrong with which field, without its text.
    pub(super) fn write(
        templates: &Templates,
        from: &Mailbox,
        config: &Value,
        input: &Value,
        key: &str,
        now: Timestamp,
    ) -> Result<Self, CallError> {
        let [to, cc, bcc, reply_to] = [
            addresses(input, "to")?,
            addresses(input, "cc")?,
            addresses(input, "bcc")?,
            addresses(input, "replyTo")?,
        ];
        let recipients = recipients([&to, &cc, &bcc])?;
        let words = template::words(templates, config, input, now)?;
        check_subject(&words.subject)?;
        let files = attachments(input)?;
        // Derived from the job's key, so that who gets the letter twice can tell.
        let message_id = format!("<{key}@{}>", from.email.domain());
        let shown = json!({
            "from": from.to_string(),
            "to": texts(&to),
            "cc": texts(&cc),
            "bcc": texts(&bcc),
            "replyTo": texts(&reply_to),
            "messageId": message_id,
            "subject": words.subject,
            "body": words.body,
            "html": words.html,
            "attachments": files.iter().map(File::shown).collect::<Vec<_>>(),
        });
        let mut builder = Message::builder()
            .from(from.clone())
            .subject(words.subject.clone())
            .date(SystemTime::from(now))
            .message_id(Some(message_id.clone()));
        for mailbox in to {
            builder = builder.to(mailbox);
        }
        for mailbox in cc {
            builder = builder.cc(mailbox);
        }
        for mailbox in bcc {
            builder = builder.bcc(mailbox);
        }
        for mailbox in reply_to {
            builder = builder.reply_to(mailbox);
        }
        let mut bytes = body(builder, words, files, key)?.formatted();
        // The end of the letter brings the end of its last line.
        if bytes.ends_with(b"\r\n") {
            bytes.truncate(bytes.len() - 2);
        }
        Ok(Self {
            sender: from.email.clone(),
            recipients,
            message_id,
            bytes,
            shown,
        })
    }

    pub(super) fn sender(&self) -> &Address {
        &self.sender
    }

    /// Each once.
    pub(super) fn recipients(&self) -> &[Address] {
        &self.recipients
    }

    pub(super) fn message_id(&self) -> &str {
        &self.message_id
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it says, for whoever rehearses it.
    pub(super) fn shown(&self) -> &Value {
        &self.shown
    }
}

fn invalid(field: &str, problem: &str) -> CallError {
    CallError::invalid(format!("`{field}` {problem}"))
}

fn texts(mailboxes: &[Mailbox]) -> Vec<String> {
    mailboxes.iter().map(Mailbox::to_string).collect()
}

/// The addresses of a field: a list of them, or a text with commas between.
fn addresses(input: &Value, field: &str) -> Result<Vec<Mailbox>, CallError> {
    let unfit = || {
        invalid(
            field,
            "must hold addresses, each as jane@example.com or Jane <jane@example.com>",
        )
    };
    let found = match &input[field] {
        Value::Null => Vec::new(),
        Value::String(text) => {
            let fits =
                text.len() <= RECIPIENTS * ADDRESS_CHARS && !text.chars().any(char::is_control);
            let parsed: Option<Mailboxes> = fits.then(|| text.parse().ok()).flatten();
            parsed.ok_or_else(unfit)?.into_iter().collect()
        }
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().and_then(mailbox).ok_or_else(unfit))
            .collect::<Result<_, _>>()?,
        _ => return Err(unfit()),
    };
    if found.len() > RECIPIENTS {
        return Err(invalid(field, "holds more than 100 addresses"));
    }
    Ok(found)
}

fn recipients(fields: [&Vec<Mailbox>; 3]) -> Result<Vec<Address>, CallError> {
    let mut each = Vec::new();
    for mailbox in fields.into_iter().flatten() {
        if !each.contains(&mailbox.email) {
            each.push(mailbox.email.clone());
        }
    }
    if fields[0].is_empty() {
        return Err(invalid("to", "names nobody"));
    }
    if each.len() > RECIPIENTS {
        return Err(CallError::invalid(format!(
            "a letter goes to at most {RECIPIENTS} addresses; send several"
        )));
    }
    Ok(each)
}

fn check_subject(subject: &str) -> Result<(), CallError> {
    if subject.chars().any(char::is_control) {
        return Err(invalid("subject", "must be one line"));
    }
    if subject.chars().count() > SUBJECT_CHARS {
        return Err(invalid("subject", "must have at most 900 characters"));
    }
    Ok(())
}

struct File {
    name: String,
    content_type: ContentType,
    content_id: Option<String>,
    bytes: Vec<u8>,
}

impl File {
    fn shown(&self) -> Value {
        json!({ "filename": self.name, "bytes": self.bytes.len(), "contentId": self.content_id })
    }

    fn part(self) -> SinglePart {
        let part = match self.content_id {
            Some(id) => Part::new_inline_with_name(id, self.name),
            None => Part::new(self.name),
        };
        // Whatever it is: a text with line breaks of another system would break the letter's lines.
        let encoding = ContentTransferEncoding::Base64;
        // Base64 can hold anything.
        let bytes = Body::new_with_encoding(self.bytes, encoding).unwrap_or_else(Body::new);
        part.body(bytes, self.content_type)
    }
}

fn attachments(input: &Value) -> Result<Vec<File>, CallError> {
    let mut room = ATTACHED_BYTES;
    let mut files = Vec::new();
    let given = input["attachments"].as_array().into_iter().flatten();
    for (i, file) in given.enumerate() {
        let field = |name: &str| format!("attachments.{i}.{name}");
        let text = |name: &str| {
            let text = file[name].as_str();
            text.filter(|text| !text.chars().any(char::is_control))
        };
        let name = text("filename")
            .filter(|name| !name.is_empty() && name.chars().count() <= FILE_NAME_CHARS)
            .ok_or_else(|| invalid(&field("filename"), "must be a name on one line"))?;
        let content = file["content"].as_str().unwrap_or_default();
        let too_large = || {
            CallError::too_large(format!(
                "the attachments have more than {} MiB in all",
                ATTACHED_BYTES / 1024 / 1024
            ))
        };
        // Before anything is decoded.
        if content.len() / 4 * 3 > room + 3 {
            return Err(too_large());
        }
        // Programs that make Base64 for mail break it into lines.
        let content: String = content.split_ascii_whitespace().collect();
        let bytes = BASE64
            .decode(content)
            .map_err(|_| invalid(&field("content"), "must be Base64"))?;
        room = room.checked_sub(bytes.len()).ok_or_else(too_large)?;
        let content_type = match &file["contentType"] {
            Value::Null => "application/octet-stream",
            _ => text("contentType").unwrap_or_default(),
        };
        let content_type = ContentType::parse(content_type)
            .map_err(|_| invalid(&field("contentType"), "must be a media type: text/csv"))?;
        files.push(File {
            name: name.to_owned(),
            content_type,
            content_id: text("contentId").map(str::to_owned),
            bytes,
        });
    }
    Ok(files)
}

/// A text, a page, or both with the files around them.
fn body(
    builder: MessageBuilder,
    words: Words,
    files: Vec<File>,
    key: &str,
) -> Result<Message, CallError> {
    let mut boundaries = Boundaries { key, number: 0 };
    let has_page = words.html.is_some();
    let (inline, attached): (Vec<_>, Vec<_>) = files
        .into_iter()
        .partition(|file| has_page && file.content_id.is_some());
    let page = words.html.map(|html| {
        let page = SinglePart::html(html);
        if inline.is_empty() {
            return Content::Single(page);
        }
        let related = boundaries.of(MultiPart::related()).singlepart(page);
        Content::Multi(
            inline
                .into_iter()
                .fold(related, |related, file| related.singlepart(file.part())),
        )
    });
    let text = words
        .body
        .map(|body| Content::Single(SinglePart::plain(body)));
    let said = match (text, page) {
        (Some(text), Some(page)) => {
            // The last is the one that programs prefer.
            let both = text.first_of(boundaries.of(MultiPart::alternative()));
            Content::Multi(page.next_of(both))
        }
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return Err(invalid("body", "is missing, and so is `html`")),
    };
    let whole = if attached.is_empty() {
        said
    } else {
        let mixed = said.first_of(boundaries.of(MultiPart::mixed()));
        Content::Multi(
            attached
                .into_iter()
                .fold(mixed, |mixed, file| mixed.singlepart(file.part())),
        )
    };
    let written = match whole {
        Content::Single(part) => builder.singlepart(part),
        Content::Multi(parts) => builder.multipart(parts),
    };
    written.map_err(|_| CallError::invalid("the letter cannot be written with these addresses"))
}

enum Content {
    Single(SinglePart),
    Multi(MultiPart),
}

impl Content {
    fn first_of(self, parts: lettre::message::MultiPartBuilder) -> MultiPart {
        match self {
            Self::Single(part) => parts.singlepart(part),
            Self::Multi(part) => parts.multipart(part),
        }
    }

    fn next_of(self, parts: MultiPart) -> MultiPart {
        match self {
            Self::Single(part) => parts.singlepart(part),
            Self::Multi(part) => parts.multipart(part),
        }
    }
}

/// What stands between the parts: the same in each attempt of a job, so that the letter is. Nobody
/// who writes the letter chooses the job's id, so nobody can write it into a part.
struct Boundaries<'a> {
    key: &'a str,
    number: u8,
}

impl Boundaries<'_> {
    fn of(
        &mut self,
        parts: lettre::message::MultiPartBuilder,
    ) -> lettre::message::MultiPartBuilder {
        self.number += 1;
        let digest = digest(&SHA256, format!("{}#{}", self.key, self.number).as_bytes());
        let hex: String = digest.as_ref()[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        parts.boundary(format!("=_{hex}"))
    }
}
