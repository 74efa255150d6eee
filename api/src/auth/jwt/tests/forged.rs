//! Tokens of somebody who has not the key: by another algorithm, another key, or none.

use serde_json::{Value, json};

use super::{
    forgery::{Forgery, all_are_refused},
    support::*,
};
use crate::auth::Reason;

fn every_case_of(word: &str) -> impl Iterator<Item = String> {
    (0..1_u32 << word.len()).map(move |upper| {
        let chars = word.chars().enumerate();
        chars
            .map(|(at, char)| match upper >> at & 1 {
                1 => char.to_ascii_uppercase(),
                _ => char,
            })
            .collect()
    })
}

#[tokio::test]
async fn no_spelling_of_none_counts() {
    let mut forgeries = Vec::new();
    let spellings = every_case_of("none").chain(["", " none", "none ", "null"].map(String::from));
    for alg in spellings {
        for kid in ["rsa", "any", ""] {
            let header = header(&alg, kid).to_string();
            let signed = token_of(&header, claims().to_string(), Signer::Secret(SECRET));
            let (message, _) = signed.rsplit_once('.').expect("it has three parts");
            for token in [
                format!("{message}."),
                format!("{message}.AA"),
                signed.clone(),
            ] {
                forgeries.push(Forgery::new(token, &[Reason::Algorithm]));
            }
            forgeries.push(Forgery::new(message, &[Reason::TokenMalformed]));
        }
    }
    all_are_refused(&World::new(), &forgeries, 240).await;
}

#[tokio::test]
async fn no_algorithm_but_the_keys_own_counts() {
    let mut forgeries = Vec::new();
    for alg in [
        "HS384",
        "HS512",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES384",
        "ES512",
        "ES256K",
        "Ed25519",
        "Ed448",
        "EDDSA",
        "eddsa",
        "hs256",
        "Hs256",
        "rs256",
        "es256",
        "HS256 ",
        " HS256",
        "HS256\0",
        "HS256,RS256",
        "dir",
        "RSA-OAEP",
        "A256KW",
        "*",
    ] {
        for (_, kid, signer) in SERVED {
            let token = token_of(header(alg, kid).to_string(), claims().to_string(), signer);
            forgeries.push(Forgery::new(token, &[Reason::Algorithm]));
        }
    }
    for (alg, own_kid, _) in SERVED {
        for (other, others_kid, signer) in SERVED {
            for kid in [own_kid, others_kid] {
                if alg != other {
                    let token =
                        token_of(header(alg, kid).to_string(), claims().to_string(), signer);
                    let reasons = &[Reason::Algorithm, Reason::Signature, Reason::KeyUnknown];
                    forgeries.push(Forgery::new(token, reasons));
                }
            }
        }
    }
    for alg in [
        Value::Null,
        json!(256),
        json!(["HS256"]),
        json!({"alg": "HS256"}),
        json!(true),
    ] {
        let header = json!({ "alg": alg }).to_string();
        forgeries.push(Forgery::headed(header, &[Reason::HeaderMalformed]));
    }
    forgeries.push(Forgery::headed("{}", &[Reason::HeaderMalformed]));
    all_are_refused(&World::new(), &forgeries, 120).await;
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let spki = [
        &b"\x30\x82\x01\x22\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x03\x82\x01\x0f\x00"[..],
        rsa_der(),
    ]
    .concat();
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &spki);
    let lines: Vec<_> = base64
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    let pem = |end: &str| {
        let body = lines.join("\n");
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----{end}").into_bytes()
    };
    let jwk = rsa_jwk("rsa");
    let n = jwk["n"].as_str().expect("it has a modulus").to_owned();
    let secrets = [
        rsa_der().to_vec(),
        rsa_der()[9..265].to_vec(),
        pem("\n"),
        pem(""),
        pem("\r\n"),
        base64.clone().into_bytes(),
        spki.clone(),
        n.into_bytes(),
        jwk.to_string().into_bytes(),
        ec_jwk("ec").to_string().into_bytes(),
        b"rsa".to_vec(),
        Vec::new(),
        vec![0],
    ];
    let forge = |reasons| {
        let kids = ["rsa", "ec", "ed", "any"];
        let each = secrets
            .iter()
            .flat_map(move |secret| kids.map(|kid| (secret, kid)));
        let forged = each.map(|(secret, kid)| {
            let header = header("HS256", kid).to_string();
            Forgery::new(
                token_of(header, claims().to_string(), Signer::Secret(secret)),
                reasons,
            )
        });
        forged.collect::<Vec<_>>()
    };
    all_are_refused(&World::new(), &forge(&[Reason::Signature]), 50).await;
    let world = World::with_public_keys_only();
    all_are_refused(&world, &forge(&[Reason::Algorithm]), 50).await;
    assert_eq!(world.provider.fetches(), 0);
}

#[tokio::test]
async fn an_identifier_of_a_key_leads_nowhere() {
    let mut forgeries = Vec::new();
    let huge = "k".repeat(257);
    for kid in [
        "",
        " ",
        "unknown",
        "RSA",
        "rsa ",
        " rsa",
        "rsa\0",
        "rsa\n",
        "rsa,ec",
        "*",
        "%",
        "_",
        "..",
        "../../../../dev/null",
        "..\\..\\windows\\win.ini",
        "/dev/null",
        "/proc/self/environ",
        "file:///dev/null",
        "https://evil.example/jwks.json",
        "rsa' OR '1'='1",
        "'; drop table keys; --",
        "rsa' UNION SELECT 'secret",
        "$(id)",
        "`id`",
        "|id",
        "{{7*7}}",
        "${jndi:ldap://evil.example/a}",
        "__proto__",
        "constructor",
        "null",
        "undefined",
        "0",
        "-1",
        "rsа",
        "ｒｓａ",
        "é",
        "\u{202e}asr",
        "<script>alert(1)</script>",
        huge.as_str(),
    ] {
        for (alg, _, signer) in &SERVED[1..] {
            let token = token_of(header(alg, kid).to_string(), claims().to_string(), *signer);
            forgeries.push(Forgery::new(token, &[Reason::KeyUnknown]));
        }
    }
    for kid in [
        Value::Null,
        json!(0),
        json!(["rsa"]),
        json!({"$ne": 1}),
        json!(true),
    ] {
        for (alg, _, signer) in SERVED {
            let header = json!({ "alg": alg, "kid": kid }).to_string();
            let token = token_of(header, claims().to_string(), signer);
            forgeries.push(Forgery::new(token, &[Reason::HeaderMalformed]));
        }
    }
    for (alg, _, signer) in &SERVED[1..] {
        let header = json!({ "alg": alg }).to_string();
        let token = token_of(header, claims().to_string(), *signer);
        forgeries.push(Forgery::new(token, &[Reason::KeyIdMissing]));
    }
    all_are_refused(&World::new(), &forgeries, 140).await;
}

#[tokio::test]
async fn a_token_brings_no_key_of_its_own() {
    let mut forgeries = Vec::new();
    let own =
        json!({ "kty": "oct", "k": encode(b"a secret that the forger knows well"), "kid": "rsa" });
    for (name, value) in [
        ("jwk", own),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("secret", json!("a secret that the forger knows well")),
    ] {
        for (alg, kid, _) in SERVED {
            let mut header = header(alg, kid);
            header[name] = value.clone();
            let signer = Signer::Secret(b"a secret that the forger knows well");
            let token = token_of(header.to_string(), claims().to_string(), signer);
            forgeries.push(Forgery::new(
                token,
                &[Reason::Signature, Reason::KeyUnknown],
            ));
        }
    }
    all_are_refused(&World::new(), &forgeries, 24).await;
}
