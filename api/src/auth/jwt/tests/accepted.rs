//! What counts, and what is made of it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::{SharedSecret, WeakSecret};
use super::support::*;
use crate::auth::Reason;

#[tokio::test]
async fn each_algorithm_counts_with_its_own_key() {
    let world = World::new();
    for (alg, kid, signer) in SERVED {
        let header = header(alg, kid).to_string();
        let token = token_of(header, claims().to_string(), signer);
        let claims = world.verify(&token).await.expect(alg);
        assert_eq!(claims.issuer, ISSUER);
        assert_eq!(claims.subject, "5b1d9e6a-6a5c-4f0e-9f39-0d3ad32d9b8e");
        assert_eq!(claims.email.as_deref(), Some("ada@example.com"));
        let end = Timestamp::from_second(NOW + 3_600 + LEEWAY_S);
        assert_eq!(Some(claims.expires_at), end.ok());
    }
    assert_eq!(world.provider.fetches(), 1);
}

#[tokio::test]
async fn headers_and_claims_may_say_more_than_is_of_use() {
    let world = World::new();
    for header in [
        json!({ "alg": "HS256" }),
        json!({ "alg": "HS256", "typ": "at+jwt" }),
        json!({ "alg": "HS256", "typ": "application/JWT", "x": [["y"]] }),
    ] {
        let signer = Signer::Secret(SECRET);
        let token = token_of(header.to_string(), claims().to_string(), signer);
        assert!(world.verify(&token).await.is_ok(), "{header}");
    }
    for (name, value) in [
        ("aud", json!(["other", "toolroom"])),
        ("exp", json!(NOW as f64 + 0.5)),
        ("user_metadata", json!({ "a": [{ "b": [{ "c": null }] }] })),
    ] {
        let token = token_with(&claims_with(name, value));
        assert!(world.verify(&token).await.is_ok(), "{name}");
    }
    for name in ["nbf", "iat", "email"] {
        let token = token_with(&claims_without(name));
        assert!(world.verify(&token).await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway_and_no_more() {
    let world = World::new();
    for (name, value, outcome) in [
        ("exp", NOW - LEEWAY_S + 1, None),
        ("exp", NOW - LEEWAY_S, Some(Reason::Expired)),
        ("nbf", NOW + LEEWAY_S, None),
        ("nbf", NOW + LEEWAY_S + 1, Some(Reason::NotYetValid)),
        ("iat", NOW + LEEWAY_S, None),
        ("iat", NOW + LEEWAY_S + 1, Some(Reason::NotYetValid)),
    ] {
        let token = token_with(&claims_with(name, json!(value)));
        assert_eq!(world.verify(&token).await.err(), outcome, "{name} {value}");
    }
}

#[tokio::test]
async fn an_address_counts_unless_it_is_none_or_not_verified() {
    let world = World::new();
    for (email, verified, expected) in [
        (json!("a@b.example"), Value::Null, Some("a@b.example")),
        (json!("a@b.example"), json!(true), Some("a@b.example")),
        (json!("a@b.example"), json!("true"), Some("a@b.example")),
        (json!("a@b.example"), json!(false), None),
        (json!("a@b.example"), json!("false"), None),
        (json!("a@b.example"), json!([true]), None),
        (json!(""), Value::Null, None),
        (Value::Null, Value::Null, None),
        (json!("a b@c.example"), Value::Null, None),
        (json!("a\n@c.example"), Value::Null, None),
        (json!("@c.example"), Value::Null, None),
        (json!("a".repeat(400) + "@c.example"), Value::Null, None),
    ] {
        let mut claims = claims_with("email", email.clone());
        claims["email_verified"] = verified;
        let claims = world.verify(&token_with(&claims)).await.expect("it counts");
        assert_eq!(claims.email.as_deref(), expected, "{email}");
    }
}

#[test]
fn a_weak_secret_is_refused_at_start() {
    let refused = |secret: &[u8]| SharedSecret::try_new(secret).err();
    assert_eq!(refused(&[b'x'; 31]), Some(WeakSecret::TooShort));
    assert_eq!(refused(&[b'x'; 32]), None);
    let pem = b"\n-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A";
    assert_eq!(refused(pem), Some(WeakSecret::Pem));
}

#[test]
fn nothing_prints_the_secret() {
    let secret = SharedSecret::try_new(SECRET).expect("it is long enough");
    assert_eq!(format!("{secret:?}"), "SharedSecret(…)");
}
