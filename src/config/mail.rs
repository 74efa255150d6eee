//! Which mail server takes letters.

use toolroom_worker::mail::SmtpServer;

use super::{SecretText, key, layers::Layers};

/// Stands for the sender that is missing, so that a faulty URL is told beside it.
const ANY_SENDER: &str = "toolroom@example.com";

/// Takes the section out of the layers; none when no mail server is named.
pub(super) fn take(layers: &mut Layers) -> Option<SmtpServer> {
    let url: Option<SecretText> =
        layers.optional_of(&key::SMTP_URL, "a URL such as smtps://user:password@host");
    let from: Option<String> = layers.optional(&key::SMTP_FROM);
    match (url, from) {
        (Some(url), Some(from)) => SmtpServer::try_new(url.expose(), &from)
            .map_err(|error| layers.fault(error.to_string()))
            .ok(),
        (None, None) => None,
        (Some(url), None) => {
            if let Err(error) = SmtpServer::try_new(url.expose(), ANY_SENDER) {
                layers.fault(error.to_string());
            }
            layers.fault("`smtp.from` is missing: letters need a sender".to_owned());
            None
        }
        (None, Some(_)) => {
            layers.fault("`smtp.url` is missing: it names the mail server".to_owned());
            None
        }
    }
}
