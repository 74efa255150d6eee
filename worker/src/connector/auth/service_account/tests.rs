//! Assertions are checked as the token endpoint checks them; tokens are kept by the clock.

use std::sync::{
    LazyLock,
    atomic::{AtomicUsize, Ordering},
};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
};
use base64::engine::general_purpose::STANDARD as BASE64;

use super::*;

static KEY: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

fn pem(key: &RsaKeyPair) -> String {
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let base64 = BASE64.encode(der.as_ref());
    format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n")
}

fn key_file() -> Value {
    json!({
        "type": "service_account",
        "project_id": "example",
        "private_key_id": "key-1",
        "private_key": pem(&KEY),
        "client_email": "robot@example.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    })
}

fn account() -> ServiceAccount {
    ServiceAccount::try_new(&key_file(), None).unwrap()
}

const NOON: i64 = 1_800_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOON + seconds).unwrap()
}

static SCOPES: LazyLock<Vec<String>> =
    LazyLock::new(|| vec!["scope-a".to_owned(), "scope-b".to_owned()]);

fn wanted() -> &'static Wanted<'static> {
    static WANTED: LazyLock<Wanted<'static>> = LazyLock::new(|| Wanted {
        scopes: &SCOPES,
        subject: None,
    });
    &WANTED
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn an_assertion_is_what_the_token_endpoint_wants() {
    let with_subject = Wanted {
        subject: Some("jane@example.com"),
        ..*wanted()
    };
    let assertion = account().assertion(&with_subject, at(0)).unwrap();
    let (message, signature) = assertion.rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    assert_eq!(
        decoded(header),
        json!({ "alg": "RS256", "typ": "JWT", "kid": "key-1" })
    );
    assert_eq!(
        decoded(claims),
        json!({
            "iss": "robot@example.iam.gserviceaccount.com",
            "scope": "scope-a scope-b",
            "aud": "https://oauth2.googleapis.com/token",
            "iat": NOON,
            "exp": NOON + 3_600,
            "sub": "jane@example.com",
        })
    );
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, KEY.public_key().as_ref());
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    public.verify(message.as_bytes(), &signature).unwrap();
}

#[test]
fn a_key_file_may_be_its_text_and_its_token_endpoint_another() {
    let text = Value::from(key_file().to_string());
    let account = ServiceAccount::try_new(&text, Some("https://tokens.example/")).unwrap();
    assert_eq!(account.token_url.as_str(), "https://tokens.example/");
    assert!(!format!("{account:?}").contains("PRIVATE"));
}

#[test]
fn what_is_no_key_file_is_refused_by_what_it_lacks() {
    let without = |name: &str| {
        let mut file = key_file();
        file.as_object_mut().unwrap().remove(name);
        ServiceAccount::try_new(&file, None).unwrap_err()
    };
    assert_eq!(without("client_email"), KeyError::Missing("client_email"));
    assert_eq!(without("private_key"), KeyError::Missing("private_key"));
    assert_eq!(without("token_uri"), KeyError::Missing("token_uri"));
    let with = |name: &str, value: &str| {
        let mut file = key_file();
        file[name] = Value::from(value);
        ServiceAccount::try_new(&file, None).unwrap_err()
    };
    assert_eq!(with("token_uri", "file:///etc/passwd"), KeyError::TokenUri);
    assert_eq!(with("token_uri", "nonsense"), KeyError::TokenUri);
    assert_eq!(with("private_key", "nonsense"), KeyError::PrivateKey);
    for file in [json!(null), json!(7), json!("nonsense"), json!([])] {
        let refused = ServiceAccount::try_new(&file, None).unwrap_err();
        assert_eq!(refused, KeyError::NoObject);
    }
    let huge = Value::from("x".repeat(KEY_FILE_BYTES + 1));
    assert!(ServiceAccount::try_new(&huge, None).is_err());
}

/// Hands out one token after the other, each good for an hour.
#[derive(Default)]
struct Endpoint(AtomicUsize);

impl Endpoint {
    async fn answer(&self, _: Claim) -> Result<TokenAnswer, CallError> {
        let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        // Whoever comes meanwhile has to wait.
        tokio::task::yield_now().await;
        Ok(granted(&format!("token-{number}")))
    }
}

fn granted(token: &str) -> TokenAnswer {
    TokenAnswer {
        status: 200,
        body: json!({ "access_token": token, "expires_in": 3_600, "token_type": "Bearer" }),
        retry_after: None,
    }
}

#[tokio::test]
async fn a_token_is_kept_until_shortly_before_its_end() {
    let (endpoint, account) = (Endpoint::default(), account());
    let tokens = Tokens::default();
    for (seconds, expected) in [
        (0, "token-1"),
        (3_600 - MARGIN_S - 1, "token-1"),
        (3_600 - MARGIN_S, "token-2"),
        // Set back before it was fetched, the clock does not tell its age.
        (0, "token-3"),
    ] {
        let fetched = tokens.token(&account, wanted(), at(seconds), async |claim| {
            endpoint.answer(claim).await
        });
        assert_eq!(*fetched.await.unwrap(), expected, "after {seconds} s");
    }
}

#[tokio::test]
async fn a_token_serves_nobody_else() {
    let (endpoint, account) = (Endpoint::default(), account());
    let tokens = Tokens::default();
    let one_scope = ["scope-a".to_owned()];
    let others = [
        *wanted(),
        Wanted {
            scopes: &one_scope,
            ..*wanted()
        },
        Wanted {
            subject: Some("jane@example.com"),
            ..*wanted()
        },
    ];
    for wanted in &others {
        let fetched = tokens.token(&account, wanted, at(0), async |claim| {
            endpoint.answer(claim).await
        });
        fetched.await.unwrap();
    }
    assert_eq!(endpoint.0.load(Ordering::SeqCst), others.len());
    let mut replaced = key_file();
    replaced["private_key"] = Value::from(pem(&RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));
    let replaced = ServiceAccount::try_new(&replaced, None).unwrap();
    let fetched = tokens.token(&replaced, wanted(), at(0), async |claim| {
        endpoint.answer(claim).await
    });
    fetched.await.unwrap();
    assert_eq!(endpoint.0.load(Ordering::SeqCst), others.len() + 1);
}

#[tokio::test]
async fn of_many_that_come_together_one_fetches() {
    let (endpoint, account) = (Endpoint::default(), account());
    let tokens = Tokens::default();
    let all = (0..50).map(|_| {
        tokens.token(&account, wanted(), at(0), async |claim| {
            endpoint.answer(claim).await
        })
    });
    for fetched in futures::future::join_all(all).await {
        assert_eq!(*fetched.unwrap(), "token-1");
    }
    assert_eq!(endpoint.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_refusal_is_sorted_and_not_kept() {
    let (endpoint, account) = (Endpoint::default(), account());
    let tokens = Tokens::default();
    for (status, code, category) in [
        (400, "invalid_grant", ErrorCategory::Authentication),
        (401, "invalid_client", ErrorCategory::Authentication),
        (401, "unauthorized_client", ErrorCategory::Authorization),
        (400, "invalid_scope", ErrorCategory::Authorization),
        (403, "", ErrorCategory::Authorization),
        (429, "", ErrorCategory::RateLimit),
        (503, "", ErrorCategory::ServerError),
        (400, "invalid_request", ErrorCategory::Validation),
    ] {
        let refused = tokens.token(&account, wanted(), at(0), async |_| {
            Ok(TokenAnswer {
                status,
                body: json!({ "error": code, "error_description": "Invalid JWT Signature." }),
                retry_after: Some(Duration::from_secs(7)),
            })
        });
        let error = refused.await.unwrap_err();
        assert_eq!(error.category, category, "{status} {code}");
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
    }
    let fetched = tokens.token(&account, wanted(), at(0), async |claim| {
        endpoint.answer(claim).await
    });
    assert_eq!(*fetched.await.unwrap(), "token-1");
}

#[tokio::test]
async fn an_answer_that_is_no_token_is_not_taken_for_one() {
    let tokens = Tokens::default();
    let account = account();
    for body in [
        json!(null),
        json!({ "access_token": "", "token_type": "Bearer" }),
        json!({ "access_token": "a\r\nb", "token_type": "Bearer" }),
        json!({ "access_token": "abc", "token_type": "mac" }),
        json!({ "access_token": "a".repeat(TOKEN_BYTES + 1), "token_type": "Bearer" }),
    ] {
        let refused = tokens.token(&account, wanted(), at(0), async |_| {
            Ok(TokenAnswer {
                body,
                ..granted("")
            })
        });
        assert_eq!(
            refused.await.unwrap_err().category,
            ErrorCategory::ServerError
        );
    }
}
