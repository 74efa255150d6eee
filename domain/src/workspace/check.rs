//! What a workspace's names, zones and addresses must be like.

use jiff::tz::TimeZoneDatabase;

use crate::{limits, name::check_label, violation::Violation};

/// Checks a workspace's name and time zone.
///
/// # Errors
/// All violations found, each at its field's name.
pub(super) fn details(name: &str, time_zone: &str) -> Result<(), Vec<Violation>> {
    let mut found = Vec::new();
    found.extend(check_label("name", name, limits::LABEL_CHARS).err());
    found.extend(check_time_zone(time_zone).err());
    if found.is_empty() { Ok(()) } else { Err(found) }
}

/// The zones compiled in are asked, not the machine's: every node decides alike.
fn check_time_zone(time_zone: &str) -> Result<(), Violation> {
    let known = TimeZoneDatabase::bundled().get(time_zone);
    if known.is_ok_and(|zone| !zone.is_unknown()) {
        return Ok(());
    }
    let problem = "must be the IANA name of a time zone, such as `Europe/Berlin` or `UTC`";
    Err(Violation::new("timeZone", problem))
}

/// Checks an address of mail. Whether mail arrives there only mail can tell; what is refused here
/// is what could be read as something else than one address in a header.
pub(super) fn email(email: &str) -> Result<(), Violation> {
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"<>()[],;:\\\"".contains(c);
    let problem = if email.chars().count() > limits::EMAIL_CHARS {
        "must have at most 254 characters"
    } else if !email.chars().all(plain) {
        "must be one bare address, without spaces, brackets, quotes and separators"
    } else if !email
        .split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'))
    {
        "must be of the form `name@host`"
    } else {
        return Ok(());
    };
    Err(Violation::new("email", problem))
}

/// Whether a text could be an address of mail, by the rule for those of members.
pub fn is_email(text: &str) -> bool {
    email(text).is_ok()
}

/// Whether two addresses are the same mailbox, as nearly everybody reads them.
pub(super) fn is_same_mailbox(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_zones_are_iana_names() {
        for zone in ["UTC", "Europe/Berlin", "America/Argentina/Ushuaia"] {
            assert_eq!(check_time_zone(zone), Ok(()), "{zone}");
        }
        for zone in ["", "CEST+2", "Mars/Olympus", "Etc/Unknown", "../UTC"] {
            assert_eq!(
                check_time_zone(zone).unwrap_err().path,
                "timeZone",
                "{zone}"
            );
        }
    }

    #[test]
    fn one_bare_address_passes_and_nothing_else() {
        for address in ["a@b", "jane.o'neil+x@example.com", "jürgen@müller.example"] {
            assert_eq!(email(address), Ok(()), "{address}");
        }
        let long = format!("{}@b", "x".repeat(253));
        for address in [
            "",
            "jane",
            "@b",
            "a@",
            "a@b@c",
            "a@b, c@d",
            "Jane <a@b>",
            "a@b\r\nBcc:c@d",
            &long,
        ] {
            assert_eq!(email(address).unwrap_err().path, "email", "{address}");
        }
    }

    #[test]
    fn an_address_is_the_same_in_either_case() {
        assert!(is_same_mailbox("Jane@Example.com", "jane@example.com"));
        assert!(!is_same_mailbox("jane@example.com", "john@example.com"));
    }
}
