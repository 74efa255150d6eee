//! Credentials that were made up, tampered with or found: none counts, and none tells why.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    Answer, App,
    people::{ISSUER, SECRET, claims, encoded, seconds, signed, token},
};

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn with(field: &str, value: Value) -> Value {
    let mut claims = claims("jane");
    claims[field] = value;
    claims
}

fn without(field: &str) -> Value {
    let mut claims = claims("jane");
    claims.as_object_mut().unwrap().remove(field);
    claims
}

/// Headers that ask for another way of checking, each over good claims and a good signature.
fn odd_headers() -> Vec<String> {
    let mut headers: Vec<String> = [
        "none", "None", "NONE", "nOnE", "", "hs256", "HS384", "HS512",
    ]
    .iter()
    .chain(&[
        "RS256",
        "ES256",
        "EdDSA",
        "PS256",
        "HS256 ",
        "HS256\\u0000",
        "dir",
        "A128KW",
    ])
    .map(|alg| format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#))
    .collect();
    for kid in [
        "../../../../dev/null",
        "/etc/passwd",
        "' or '1'='1",
        "http://127.0.0.1:1/key",
        "\\u0000",
        "",
    ] {
        headers.push(format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#));
    }
    for extra in [
        r#""crit":["exp"]"#,
        r#""crit":[]"#,
        r#""alg":"none""#,
        r#""alg":"HS256""#,
        r#""b64":false,"crit":["b64"]"#,
        r#""typ":"JWE""#,
        r#""typ":7"#,
        r#""zip":"DEF","typ":"dpop+jwt""#,
    ] {
        headers.push(format!(r#"{{"alg":"HS256",{extra}}}"#));
    }
    for whole in [
        "",
        "{}",
        "[]",
        "null",
        "\"HS256\"",
        "{\"alg\":[\"HS256\"]}",
        "{\"alg\":null}",
    ] {
        headers.push(whole.to_owned());
    }
    headers.push(format!(r#"{{"alg":"HS256","x":{}}}"#, "[".repeat(3000)));
    headers.push(format!(
        r#"{{"alg":"HS256","x":{}1{}}}"#,
        "[".repeat(900),
        "]".repeat(900)
    ));
    headers
}

/// Claims that do not make their holder anybody, well signed.
fn odd_claims() -> Vec<String> {
    let mut odd = Vec::new();
    let times = [seconds(-3600), seconds(-31), 0, -1, i64::MIN];
    odd.extend(times.map(|time| with("exp", json!(time))));
    odd.extend(
        [
            json!("soon"),
            json!(null),
            json!([]),
            json!(true),
            json!({}),
        ]
        .map(|v| with("exp", v)),
    );
    for field in ["nbf", "iat"] {
        odd.extend([seconds(3600), i64::MAX].map(|time| with(field, json!(time))));
        odd.push(with(field, json!("yesterday")));
    }
    odd.extend(
        [
            "",
            "https://id.example/",
            "https://evil.example",
            "HTTPS://ID.EXAMPLE",
        ]
        .map(|v| with("iss", json!(v))),
    );
    odd.extend(
        [
            json!(""),
            json!("other"),
            json!([]),
            json!(["other"]),
            json!(null),
            json!({}),
            json!(7),
        ]
        .map(|v| with("aud", v)),
    );
    odd.extend(
        [
            json!(""),
            json!("local"),
            json!(7),
            json!(null),
            json!(["jane"]),
            json!("a b"),
            json!("x".repeat(300)),
            json!("key_00000000000000000000000000000001"),
            json!("a\u{0}b"),
        ]
        .map(|v| with("sub", v)),
    );
    odd.extend(["iss", "aud", "sub", "exp"].map(without));
    let mut texts: Vec<String> = odd.iter().map(Value::to_string).collect();
    let good = claims("jane").to_string();
    let open = good.trim_end_matches('}');
    texts.push(format!(r#"{open},"sub":"root"}}"#));
    texts.push(format!(r#"{open},"exp":99999999999}}"#));
    texts.push(format!("{open},\"x\":{}}}", "[".repeat(2000)));
    texts.push(format!("{good}{good}"));
    texts.extend(["", "null", "[]", "{}", "7"].map(str::to_owned));
    texts
}

fn forgeries() -> BTreeSet<String> {
    let good = claims("jane").to_string();
    let genuine = token(&claims("jane"));
    let secret = SECRET.as_bytes();
    let mut forged = BTreeSet::new();
    for header in odd_headers() {
        forged.insert(signed(&header, &good, secret));
        forged.insert(format!("{}.{}.", encoded(&header), encoded(&good)));
    }
    forged.extend(
        odd_claims()
            .iter()
            .map(|claims| signed(HS256, claims, secret)),
    );
    for secret in [
        &b""[..],
        b"secret",
        b"\0",
        ISSUER.as_bytes(),
        &SECRET.as_bytes()[1..],
    ] {
        forged.insert(signed(HS256, &good, secret));
    }
    // Each character of a good one, changed.
    for at in 0..genuine.len() {
        let mut bytes = genuine.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        forged.insert(String::from_utf8(bytes).unwrap());
    }
    let (message, signature) = genuine.rsplit_once('.').unwrap();
    forged.extend([
        message.to_owned(),
        format!("{message}."),
        format!("{genuine}."),
        format!("{genuine}.{signature}"),
        format!("{genuine}="),
        format!(".{genuine}"),
        genuine.replace('.', ".."),
        genuine.replace('.', ":"),
        "..".to_owned(),
        "...".to_owned(),
        "a.b.c".to_owned(),
        "null".to_owned(),
        "undefined".to_owned(),
        format!("{message}.{}", "A".repeat(9000)),
        signed(
            HS256,
            &with("x", json!("y".repeat(9000))).to_string(),
            secret,
        ),
    ]);
    forged.extend(["tr_", "tr__", "tr_abcdefghijkl", "tr_a_b"].map(str::to_owned));
    for byte in ["0", "A", "z"] {
        forged.insert(format!("tr_{}_{}", "a".repeat(12), byte.repeat(49)));
    }
    forged.remove(&genuine);
    forged
}

#[tokio::test]
async fn no_forged_credential_counts_and_none_tells_why() {
    // Each comes from an address of its own, so that none is refused for those before it.
    let app = App::start_closed_with(&[("TOOLROOM_PROXIES_TRUSTED", "127.0.0.0/8")]).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = async |number: usize, name: &str, value: String| {
        let address = format!("198.51.{}.{}", 100 + number / 250, number % 250 + 1);
        let request = http
            .get(format!("{}/tools", app.url))
            .header("x-forwarded-for", address)
            .header(name, value);
        Answer::of(request).await
    };
    let control = send(
        0,
        "authorization",
        format!("Bearer {}", token(&claims("jane"))),
    )
    .await;
    assert_eq!(
        control.status, 403,
        "a good token of somebody without a workspace"
    );

    let mut bodies = BTreeSet::new();
    let forged = forgeries();
    assert!(forged.len() > 300, "{}", forged.len());
    for (number, forged) in forged.iter().enumerate() {
        for (name, value) in [
            ("authorization", format!("Bearer {forged}")),
            ("x-api-key", forged.clone()),
        ] {
            let answer = send(number + 1, name, value).await;
            assert_eq!(answer.status, 401, "{forged:.200}: {}", answer.body);
            assert!(answer.headers.contains_key("www-authenticate"));
            let mut body = answer.body;
            for varies in ["timestamp", "requestId"] {
                body.as_object_mut().unwrap().remove(varies);
            }
            bodies.insert(body.to_string());
        }
    }
    assert_eq!(bodies.len(), 1, "one answer for all: {bodies:#?}");
}
