//! Google: the token endpoint (RFC 7523,
//! <https://developers.google.com/identity/protocols/oauth2/service-account#httprest>) and Sheets
//! (<https://developers.google.com/workspace/sheets/api/reference/rest/v4/spreadsheets.values>).

use std::sync::{
    LazyLock,
    atomic::{AtomicUsize, Ordering},
};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD},
};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::stand_in::{Answer, Seen, Vendor};

pub(super) const SHEET: &str = "1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms";
pub(super) const FOREIGN_SHEET: &str = "1ForeignSheet";
pub(super) const EMAIL: &str = "robot@example.iam.gserviceaccount.com";
const SCOPE: &str = "https://www.googleapis.com/auth/spreadsheets";
/// When the stories play: the endpoint takes assertions of that hour.
const NOW: i64 = 1_782_907_200;

static KEY: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

/// A key file that the stand-in at `base` knows.
pub(super) fn key_file(base: &str) -> Value {
    key_file_of(base, &KEY)
}

/// One that it does not know.
pub(super) fn forged_key_file(base: &str) -> Value {
    key_file_of(base, &RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
}

fn key_file_of(base: &str, key: &RsaKeyPair) -> Value {
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let base64 = BASE64.encode(der.as_ref());
    json!({
        "type": "service_account",
        "private_key_id": "key-1",
        "private_key": format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n"),
        "client_email": EMAIL,
        "token_uri": format!("{base}/token"),
    })
}

/// Hands out tokens and keeps sheets.
#[derive(Default)]
pub(super) struct Google {
    tokens: AtomicUsize,
}

impl Vendor for Google {
    fn answer(&self, seen: &Seen, base: &str) -> Answer {
        if seen.path == "/token" {
            return match granted(seen, base) {
                Ok(()) => {
                    let number = self.tokens.fetch_add(1, Ordering::SeqCst) + 1;
                    Answer::json(
                        200,
                        json!({
                            "access_token": format!("ya29.token-{number}"),
                            "expires_in": 3_599,
                            "token_type": "Bearer",
                        }),
                    )
                }
                Err((error, description)) => Answer::json(
                    400,
                    json!({ "error": error, "error_description": description }),
                ),
            };
        }
        let expected = format!("Bearer ya29.token-{}", self.tokens.load(Ordering::SeqCst));
        if seen.header("authorization") != expected {
            return refusal(
                401,
                "UNAUTHENTICATED",
                "Request had invalid authentication credentials.",
            );
        }
        sheets(seen)
    }

    fn busy(&self) -> Answer {
        refusal(
            429,
            "RESOURCE_EXHAUSTED",
            "Quota exceeded for quota metric 'Read requests'.",
        )
        .with("retry-after", 30)
    }

    fn broken(&self) -> Answer {
        refusal(503, "UNAVAILABLE", "The service is currently unavailable.")
    }
}

fn refusal(status: u16, kind: &str, message: &str) -> Answer {
    let error = json!({ "code": status, "message": message, "status": kind });
    Answer::json(status, json!({ "error": error }))
}

fn granted(seen: &Seen, base: &str) -> Result<(), (&'static str, &'static str)> {
    let grant = seen.form("grant_type").unwrap_or_default();
    if seen.method != "POST" || grant != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
        return Err(("unsupported_grant_type", "Invalid grant_type"));
    }
    let assertion = seen.form("assertion").unwrap_or_default();
    let malformed = ("invalid_request", "Malformed assertion");
    let (message, signature) = assertion.rsplit_once('.').ok_or(malformed)?;
    let (header, claims) = message.split_once('.').ok_or(malformed)?;
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed);
    let json = |part: &str| serde_json::from_slice::<Value>(&decoded(part)?).map_err(|_| malformed);
    let (header, claims) = (json(header)?, json(claims)?);
    if header["alg"] != "RS256" || header["kid"] != "key-1" {
        return Err(("invalid_grant", "Invalid JWT: unknown key"));
    }
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, KEY.public_key().as_ref());
    public
        .verify(message.as_bytes(), &decoded(signature)?)
        .map_err(|_| ("invalid_grant", "Invalid JWT Signature."))?;
    if claims["iss"] != EMAIL || claims["aud"] != format!("{base}/token") {
        return Err(("invalid_grant", "Invalid JWT: issuer or audience"));
    }
    if claims["sub"].is_string() && claims["sub"] != "jane@example.com" {
        return Err((
            "unauthorized_client",
            "Client is unauthorized to retrieve access tokens.",
        ));
    }
    let (issued, expires) = (claims["iat"].as_i64(), claims["exp"].as_i64());
    let timely = issued.is_some_and(|at| (at - NOW).abs() < 300)
        && matches!((issued, expires), (Some(from), Some(to)) if (1..=3_600).contains(&(to - from)));
    if !timely {
        return Err((
            "invalid_grant",
            "Invalid JWT: Token must be a short-lived token.",
        ));
    }
    if claims["scope"] != SCOPE {
        return Err((
            "invalid_scope",
            "Invalid OAuth scope or ID token audience provided.",
        ));
    }
    Ok(())
}

fn sheets(seen: &Seen) -> Answer {
    let path = percent_decode_str(&seen.path).decode_utf8().unwrap();
    let Some(rest) = path.strip_prefix("/v4/spreadsheets/") else {
        return refusal(404, "NOT_FOUND", "Method not found.");
    };
    let (sheet, rest) = rest.split_once('/').unwrap_or((rest, ""));
    match sheet {
        SHEET => {}
        FOREIGN_SHEET => {
            return refusal(
                403,
                "PERMISSION_DENIED",
                "The caller does not have permission",
            );
        }
        _ => return refusal(404, "NOT_FOUND", "Requested entity was not found."),
    }
    if rest.is_empty() && seen.method == "GET" {
        return Answer::json(
            200,
            json!({ "spreadsheetId": SHEET, "properties": { "title": "Log" } }),
        );
    }
    let Some(rest) = rest.strip_prefix("values/") else {
        return refusal(404, "NOT_FOUND", "Method not found.");
    };
    let (range, verb) = match rest.rsplit_once(':') {
        Some((range, verb @ ("append" | "clear"))) => (range, verb),
        _ => (rest, ""),
    };
    if range.starts_with("Nowhere!") {
        return refusal(400, "INVALID_ARGUMENT", "Unable to parse range: Nowhere!A1");
    }
    let body = seen.json();
    let rows = || {
        let rows = body.as_ref()?["values"].as_array()?;
        let input = seen.query("valueInputOption");
        matches!(input, Some("RAW" | "USER_ENTERED")).then_some(rows)
    };
    let updates = |rows: &[Value]| {
        let columns = rows[0].as_array().map_or(0, Vec::len);
        json!({
            "spreadsheetId": SHEET,
            "updatedRange": range,
            "updatedRows": rows.len(),
            "updatedColumns": columns,
            "updatedCells": rows.len() * columns,
        })
    };
    let invalid = || {
        refusal(
            400,
            "INVALID_ARGUMENT",
            "'valueInputOption' is required but not specified",
        )
    };
    match (seen.method.as_str(), verb) {
        ("GET", "") if range == "Empty!A1" => {
            Answer::json(200, json!({ "range": range, "majorDimension": "ROWS" }))
        }
        ("GET", "") => Answer::json(
            200,
            json!({
                "range": range,
                "majorDimension": seen.query("majorDimension"),
                "values": [["Alexandra", "Female"], ["Andrew"]],
            }),
        ),
        ("PUT", "") if body.as_ref().is_none_or(|body| body["range"] != range) => refusal(
            400,
            "INVALID_ARGUMENT",
            "Requested writing within another range",
        ),
        ("PUT", "") => rows().map_or_else(invalid, |rows| Answer::json(200, updates(rows))),
        ("POST", "append") => rows().map_or_else(invalid, |rows| {
            Answer::json(
                200,
                json!({ "spreadsheetId": SHEET, "updates": updates(rows) }),
            )
        }),
        ("POST", "clear") if body.is_some() => Answer::json(
            200,
            json!({ "spreadsheetId": SHEET, "clearedRange": range }),
        ),
        _ => refusal(404, "NOT_FOUND", "Method not found."),
    }
}
