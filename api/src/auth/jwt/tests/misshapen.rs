//! Tokens that are well signed and yet not what they should be, or no tokens at all.

use serde_json::{Value, json};

use super::{
    super::TOKEN_BYTES,
    forgery::{Forgery, all_are_refused},
    support::*,
};
use crate::auth::Reason;

#[tokio::test]
async fn a_header_is_an_object_without_repetition_or_demands() {
    let mut forgeries = Vec::new();
    for header in [
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","\u0061lg":"none"}"#,
        r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
        r#"{"alg":"HS256","typ":"JWT","typ":"JWT"}"#,
        r#"{"alg":"HS256","x":1,"x":2}"#,
        "",
        "null",
        "[]",
        "7",
        "\"HS256\"",
        r#"["HS256"]"#,
        r#"{"alg":"HS256"} "x""#,
        r#"{"alg":"HS256"}{}"#,
        r#"{"alg":"HS256""#,
        r#"{"alg":"HS256",}"#,
        r#"{'alg':'HS256'}"#,
        r#"{"ALG":"HS256"}"#,
        r#"{"alg":"HS256","typ":null}"#,
        r#"{"alg":"HS256","typ":1}"#,
        "\u{feff}{\"alg\":\"HS256\"}",
        "{\"alg\":\"HS256\"}\0",
    ] {
        forgeries.push(Forgery::headed(header, &[Reason::HeaderMalformed]));
    }
    forgeries.push(Forgery::headed(
        b"{\"alg\":\"HS256\",\"x\":\"\xff\"}",
        &[Reason::HeaderMalformed],
    ));
    for crit in [
        json!([]),
        json!(["exp"]),
        json!(["b64"]),
        json!("b64"),
        json!({}),
        json!(1),
    ] {
        let header = json!({ "alg": "HS256", "b64": false, "crit": crit }).to_string();
        forgeries.push(Forgery::headed(header, &[Reason::CriticalExtension]));
    }
    let null = r#"{"alg":"HS256","crit":null}"#;
    forgeries.push(Forgery::headed(null, &[Reason::CriticalExtension]));
    for typ in [
        "",
        "JWE",
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "id+jwt",
        "application/json",
    ] {
        let header = json!({ "alg": "HS256", "typ": typ }).to_string();
        forgeries.push(Forgery::headed(header, &[Reason::TokenType]));
    }
    for depth in [4, 5, 10, 127, 128, 1_000, 2_500] {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let header = format!(r#"{{"alg":"HS256","x":{nested}}}"#);
        let reasons = &[Reason::HeaderMalformed];
        forgeries.push(Forgery::headed(header, reasons));
        forgeries.push(Forgery::headed("[".repeat(depth), reasons));
        forgeries.push(Forgery::headed("{\"a\":".repeat(depth / 4), reasons));
    }
    all_are_refused(&World::new(), &forgeries, 55).await;
}

#[tokio::test]
async fn claims_are_complete_of_their_type_and_for_us() {
    let mut refused: Vec<(Value, &'static [Reason])> = Vec::new();
    for name in ["iss", "sub", "aud", "exp"] {
        refused.push((claims_without(name), &[Reason::ClaimsMalformed]));
        for value in [Value::Null, json!({}), json!(true), json!([[]])] {
            refused.push((claims_with(name, value), &[Reason::ClaimsMalformed]));
        }
    }
    for name in ["exp", "nbf", "iat"] {
        for value in [
            Value::Null,
            json!((NOW + 60).to_string()),
            json!("never"),
            json!([NOW + 60]),
            json!(true),
            json!(1e300),
            json!(u64::MAX),
            json!(i64::MAX),
            json!(-1e300),
        ] {
            refused.push((claims_with(name, value), &[Reason::ClaimsMalformed]));
        }
    }
    for value in [
        json!(0),
        json!(-1),
        json!(NOW - 3_600),
        json!(NOW - LEEWAY_S),
        json!(NOW as f64 - 60.5),
    ] {
        refused.push((claims_with("exp", value), &[Reason::Expired]));
    }
    for name in ["nbf", "iat"] {
        for value in [NOW + LEEWAY_S + 1, NOW + 3_600, 250_000_000_000] {
            refused.push((claims_with(name, json!(value)), &[Reason::NotYetValid]));
        }
    }
    let longer = format!("{ISSUER}/");
    for issuer in [
        "",
        "supabase",
        "https://evil.example",
        &longer,
        &ISSUER[..10],
        &ISSUER.to_uppercase(),
    ] {
        refused.push((claims_with("iss", json!(issuer)), &[Reason::Issuer]));
    }
    for audience in [
        json!(""),
        json!("other"),
        json!("Toolroom"),
        json!("toolroom "),
        json!("toolroom,other"),
        json!([]),
        json!(["other"]),
        json!(["", "tool", "room"]),
    ] {
        refused.push((claims_with("aud", audience), &[Reason::Audience]));
    }
    for subject in [
        json!(""),
        json!("a\0b"),
        json!("a\nb"),
        json!("s".repeat(256)),
        json!(7),
    ] {
        refused.push((claims_with("sub", subject), &[Reason::ClaimsMalformed]));
    }
    refused.push((
        claims_with("email", json!(["a@b.example"])),
        &[Reason::ClaimsMalformed],
    ));

    let mut forgeries = Vec::new();
    for (claims, reasons) in &refused {
        for (alg, kid, signer) in SERVED {
            let token = token_of(header(alg, kid).to_string(), claims.to_string(), signer);
            forgeries.push(Forgery::new(token, reasons));
        }
    }
    all_are_refused(&World::new(), &forgeries, 300).await;
}

#[tokio::test]
async fn claims_are_one_object_without_repetition_nested_little() {
    let good = claims().to_string();
    let open = good.strip_suffix('}').expect("it is an object");
    let mut texts = vec![
        String::new(),
        "null".into(),
        "[]".into(),
        "\"sub\"".into(),
        "7".into(),
        format!("[{good}]"),
        format!("{good}{good}"),
        format!("{good} x"),
        open.to_owned(),
    ];
    for repeated in [
        r#""sub":"root""#,
        r#""exp":99999999999"#,
        r#""\u0073ub":"root""#,
        r#""role":"x""#,
    ] {
        texts.push(format!("{open},{repeated}}}"));
        texts.push(format!("{{{repeated},{}", &good[1..]));
    }
    for depth in [16, 17, 100, 128, 1_000, 2_500] {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        texts.push(format!("{open},\"x\":{nested}}}"));
    }
    let header = header("HS256", "any").to_string();
    let forged = texts.iter().map(|text| {
        let token = token_of(&header, text, Signer::Secret(SECRET));
        Forgery::new(token, &[Reason::ClaimsMalformed])
    });
    all_are_refused(&World::new(), &forged.collect::<Vec<_>>(), 20).await;
}

#[tokio::test]
async fn a_token_is_three_parts_of_base64url_and_no_more() {
    let good = token_with(&claims());
    let parts: Vec<_> = good.split('.').collect();
    let (h, c, s) = (parts[0], parts[1], parts[2]);
    let malformed: &[Reason] = &[Reason::TokenMalformed];
    let either: &[Reason] = &[
        Reason::TokenMalformed,
        Reason::Signature,
        Reason::HeaderMalformed,
    ];
    let mut forgeries = vec![];
    for text in [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        h.into(),
        format!("{h}.{c}"),
        format!("{h}.{c}.{s}.{s}"),
        format!("{h}.{c}.{s}.a.b"),
        format!(".{h}.{c}.{s}"),
        format!("{h}..{c}.{s}"),
        format!("{h}.{c}..{s}"),
        format!("{h}.{c}.{s}."),
        format!("{h}..{s}"),
        format!(".{c}.{s}"),
        format!("{h}.{c}."),
        format!("{c}.{h}.{s}"),
        format!("{h}.{s}.{c}"),
    ] {
        forgeries.push(Forgery::new(text, either));
    }
    for garbage in [
        "=", "==", " ", "\n", "\0", "\t", "%00", "+", "/", "é", "#", "?a=b", ";",
    ] {
        forgeries.push(Forgery::new(format!("{good}{garbage}"), malformed));
        forgeries.push(Forgery::new(format!("{garbage}{good}"), malformed));
        forgeries.push(Forgery::new(format!("{h}.{c}{garbage}.{s}"), either));
        forgeries.push(Forgery::new(format!("{h}.{garbage}{c}.{s}"), either));
        forgeries.push(Forgery::new(format!("{h}{garbage}.{c}.{s}"), malformed));
        forgeries.push(Forgery::new(format!("{h}.{c}.{garbage}{s}"), malformed));
    }
    // Well signed, but of claims that are no base64url.
    for garbage in ["=", " ", "\n", "+", "/"] {
        let message = format!("{h}.{c}{garbage}");
        let signature = encode(sign(message.as_bytes(), Signer::Secret(SECRET)));
        forgeries.push(Forgery::new(format!("{message}.{signature}"), malformed));
    }
    let mac = sign(format!("{h}.{c}").as_bytes(), Signer::Secret(SECRET));
    for cut in 0..mac.len() {
        let signature = encode(&mac[..cut]);
        forgeries.push(Forgery::new(
            format!("{h}.{c}.{signature}"),
            &[Reason::Signature],
        ));
    }
    let longer = encode([&mac[..], &[0]].concat());
    forgeries.push(Forgery::new(
        format!("{h}.{c}.{longer}"),
        &[Reason::Signature],
    ));
    all_are_refused(&World::new(), &forgeries, 130).await;
}

#[tokio::test]
async fn a_token_has_a_size() {
    let world = World::new();
    let padded = |length| token_with(&claims_with("pad", json!("x".repeat(length))));
    let fits = (0..TOKEN_BYTES)
        .rev()
        .step_by(64)
        .map(padded)
        .find(|token| token.len() <= TOKEN_BYTES);
    assert!(world.verify(&fits.expect("one fits")).await.is_ok());

    let mut forgeries = Vec::new();
    for length in [TOKEN_BYTES, 100_000, 4_000_000] {
        forgeries.push(Forgery::new(padded(length), &[Reason::TokenTooLong]));
        forgeries.push(Forgery::new(
            ".".repeat(length + 1),
            &[Reason::TokenTooLong],
        ));
        let header = json!({ "alg": "HS256", "kid": "k".repeat(length) }).to_string();
        forgeries.push(Forgery::headed(header, &[Reason::TokenTooLong]));
    }
    all_are_refused(&world, &forgeries, 9).await;
}
