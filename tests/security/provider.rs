//! Tokens that an identity provider signs with a key of its own, which is fetched from it.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answering, App,
    people::{SECRET, claims, encoded, signed},
};

const KID: &str = "2026-11";

fn token(pair: &Ed25519KeyPair, kid: &str, claims: &Value) -> String {
    let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid }).to_string();
    let message = format!("{}.{}", encoded(header), encoded(claims.to_string()));
    let signature = pair.sign(message.as_bytes());
    format!("{message}.{}", encoded(signature))
}

#[tokio::test]
async fn a_token_counts_by_the_keys_that_its_provider_publishes() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let public = encoded(pair.public_key());
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": KID, "use": "sig", "x": public });
    let provider = Answering::with(json!({ "keys": [key] })).await;
    let app = App::start_closed_with(&[("TOOLROOM_AUTH_JWKS_URL", &provider.url)]).await;

    let good = token(&pair, KID, &claims("jane"));
    let jane = app.shown(Some(&good));
    let query = "mutation { createWorkspace(name: \"hers\") { name } }";
    let made = jane.data(query, json!({})).await;
    assert_eq!(made["createWorkspace"]["name"], "hers");
    let viewer = jane
        .data("{ viewer { id email role authenticatedBy } }", json!({}))
        .await;
    assert_eq!(
        viewer["viewer"],
        json!({
            "id": "user:jane", "email": "jane@example.com", "role": "OWNER",
            "authenticatedBy": "token",
        })
    );
    assert_eq!(provider.calls(), 1, "the keys are kept");

    let stranger = Ed25519KeyPair::generate().unwrap();
    let header = json!({ "alg": "HS256", "typ": "JWT", "kid": KID }).to_string();
    let by_public_key = signed(&header, &claims("jane").to_string(), public.as_bytes());
    for forged in [
        token(&stranger, KID, &claims("jane")),
        token(&pair, "another", &claims("jane")),
        by_public_key,
        good.replace(
            &encoded(claims("jane").to_string()),
            &encoded(claims("root").to_string()),
        ),
    ] {
        if forged == good {
            continue;
        }
        let answer = app
            .shown(Some(&forged))
            .send(Method::GET, "/tools", None)
            .await;
        assert_eq!(answer.status, 401, "{}", answer.body);
    }
    assert_eq!(provider.calls(), 1, "unknown key ids fetch nothing so soon");

    let shared = signed(
        r#"{"alg":"HS256","typ":"JWT"}"#,
        &claims("jane").to_string(),
        SECRET.as_bytes(),
    );
    let answer = app
        .shown(Some(&shared))
        .send(Method::GET, "/tools", None)
        .await;
    assert_eq!(
        answer.status, 200,
        "both kinds count where both are configured"
    );
}
