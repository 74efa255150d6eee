//! Keys that come and go, and a provider that does too.

use std::time::Duration;

use futures::{future::join_all, poll};
use serde_json::{Value, json};

use super::super::{
    FETCH_TIMEOUT, MAX_AGE, MAX_BYTES, MAX_KEYS, REFRESH_PAUSE, STALE_FOR, jwks::Jwks,
};
use super::support::*;
use crate::auth::Reason;

async fn outcome(jwks: &Jwks, kid: &str) -> Option<Reason> {
    jwks.key(kid).await.err()
}

/// Lets the fetch that a caller left behind come to its end.
async fn settle(world: &World) {
    while world.jwks.is_fetching() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_new_key_counts_as_soon_as_a_token_names_it() {
    let world = World::new();
    assert_eq!(outcome(&world.jwks, "rsa").await, None);
    world
        .provider
        .publish_keys(&[rsa_jwk("rsa"), ec_jwk("next")]);
    assert_eq!(outcome(&world.jwks, "next").await, Some(Reason::KeyUnknown));
    world.clock.advance(REFRESH_PAUSE);
    assert_eq!(outcome(&world.jwks, "next").await, None);
    assert_eq!(outcome(&world.jwks, "rsa").await, None);
    assert_eq!(world.provider.fetches(), 2);
}

#[tokio::test]
async fn invented_ids_make_us_fetch_once_in_a_while() {
    let world = World::new();
    for round in 0..4 {
        for kid in 0..100 {
            let reason = outcome(&world.jwks, &format!("{round}-{kid}")).await;
            assert_eq!(reason, Some(Reason::KeyUnknown));
        }
        world.clock.advance(REFRESH_PAUSE / 2);
    }
    assert_eq!(world.provider.fetches(), 2);
}

#[tokio::test]
async fn a_withdrawn_key_ceases_to_count_after_its_age_and_one_fetch() {
    let world = World::new();
    assert_eq!(outcome(&world.jwks, "rsa").await, None);
    world.provider.publish_keys(&[ec_jwk("ec")]);
    world.clock.advance(MAX_AGE - Duration::from_secs(1));
    assert_eq!(outcome(&world.jwks, "rsa").await, None);
    assert_eq!(world.provider.fetches(), 1);

    world.clock.advance(Duration::from_secs(1));
    assert_eq!(outcome(&world.jwks, "rsa").await, None, "nobody waits");
    settle(&world).await;
    assert_eq!(outcome(&world.jwks, "rsa").await, Some(Reason::KeyUnknown));
    assert_eq!(world.provider.fetches(), 2);
}

#[tokio::test]
async fn known_keys_serve_while_the_provider_is_away_but_not_for_ever() {
    let world = World::new();
    assert_eq!(outcome(&world.jwks, "rsa").await, None);
    world.provider.goes_away();
    world.clock.advance(STALE_FOR - Duration::from_secs(1));
    for _ in 0..10 {
        assert_eq!(outcome(&world.jwks, "rsa").await, None);
        settle(&world).await;
    }
    assert_eq!(world.provider.fetches(), 2);

    world.clock.advance(Duration::from_secs(1));
    let away = Some(Reason::KeysUnavailable);
    assert_eq!(outcome(&world.jwks, "rsa").await, away);
    world.clock.advance(REFRESH_PAUSE);
    assert_eq!(outcome(&world.jwks, "rsa").await, away);

    world.provider.publish_keys(&[rsa_jwk("rsa")]);
    world.clock.advance(REFRESH_PAUSE);
    assert_eq!(outcome(&world.jwks, "rsa").await, None);
}

#[tokio::test]
async fn a_provider_that_is_away_at_first_is_asked_again() {
    let world = World::new();
    world.provider.goes_away();
    let away = Some(Reason::KeysUnavailable);
    assert_eq!(outcome(&world.jwks, "rsa").await, away);
    world.provider.publish_keys(&[rsa_jwk("rsa")]);
    assert_eq!(outcome(&world.jwks, "rsa").await, away);
    world.clock.advance(REFRESH_PAUSE);
    assert_eq!(outcome(&world.jwks, "rsa").await, None);
}

#[tokio::test]
async fn a_set_that_is_broken_or_out_of_bounds_replaces_nothing() {
    let many: Vec<_> = (0..=MAX_KEYS).map(|n| ed_jwk(&n.to_string())).collect();
    let long = json!({ "keys": [ed_jwk("new")], "pad": "x".repeat(MAX_BYTES) }).to_string();
    let nested = format!("{{\"keys\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    for set in [
        String::new(),
        "<html>".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"keys":{}}"#.to_owned(),
        r#"{"keys":[]}"#.to_owned(),
        r#"{"keys":[null,1,"a",[],{}]}"#.to_owned(),
        json!({ "keys": many }).to_string(),
        long,
        nested,
    ] {
        let world = World::new();
        assert_eq!(outcome(&world.jwks, "rsa").await, None);
        world.provider.publish(set.clone());
        world.clock.advance(REFRESH_PAUSE);
        let reason = outcome(&world.jwks, "new").await;
        assert_eq!(reason, Some(Reason::KeyUnknown), "{set:.80}");
        assert_eq!(outcome(&world.jwks, "rsa").await, None, "{set:.80}");
        assert_eq!(world.provider.fetches(), 2);
    }
}

#[tokio::test]
async fn keys_that_sign_nothing_for_us_are_passed_over() {
    let changed = |mut jwk: Value, field: &str, value: Value| {
        jwk[field] = value;
        jwk
    };
    let world = World::new();
    let secret = json!({ "kty": "oct", "kid": "oct", "alg": "HS256", "k": encode(SECRET) });
    let passed_over = [
        secret,
        changed(rsa_jwk("enc"), "use", json!("enc")),
        changed(rsa_jwk("rs512"), "alg", json!("RS512")),
        changed(rsa_jwk("oaep"), "alg", json!("RSA-OAEP")),
        changed(rsa_jwk("hmac"), "alg", json!("HS256")),
        changed(rsa_jwk("none"), "alg", json!("none")),
        changed(rsa_jwk("short"), "n", json!(encode([0xc5; 128]))),
        changed(rsa_jwk("long"), "n", json!(encode([0xc5; 1_024]))),
        changed(
            rsa_jwk("even"),
            "e",
            json!(encode([0, 0, 0, 0, 0, 0, 0, 0, 3])),
        ),
        changed(rsa_jwk("padded"), "e", json!("AQAB=")),
        changed(ec_jwk("signing"), "key_ops", json!(["sign"])),
        changed(ec_jwk("p384"), "crv", json!("P-384")),
        changed(ec_jwk("off-curve"), "x", json!(encode([1; 32]))),
        changed(ec_jwk("cut"), "y", json!(encode([1; 31]))),
        changed(ed_jwk("x25519"), "crv", json!("X25519")),
        changed(ed_jwk("cut"), "x", json!(encode([1; 31]))),
        changed(ed_jwk("ed-as-rsa"), "alg", json!("RS256")),
        ed_jwk(""),
        ed_jwk(&"k".repeat(257)),
    ];
    let mut keys = passed_over.to_vec();
    keys.push(ed_jwk("good"));
    world.provider.publish_keys(&keys);
    assert_eq!(outcome(&world.jwks, "good").await, None);
    for jwk in passed_over {
        let kid = jwk["kid"].as_str().expect("it has one");
        assert_eq!(
            outcome(&world.jwks, kid).await,
            Some(Reason::KeyUnknown),
            "{kid}"
        );
    }
}

#[tokio::test]
async fn of_two_keys_with_one_id_the_first_serves() {
    let world = World::new();
    world
        .provider
        .publish_keys(&[ed_jwk("same"), ec_jwk("same")]);
    let signed = |alg, signer| {
        token_of(
            header(alg, "same").to_string(),
            claims().to_string(),
            signer,
        )
    };
    assert!(world.verify(&signed("EdDSA", Signer::Ed)).await.is_ok());
    let second = world.verify(&signed("ES256", Signer::Ec)).await;
    assert_eq!(second.err(), Some(Reason::Algorithm));
}

#[tokio::test]
async fn many_who_come_at_once_share_one_fetch() {
    let world = World::new();
    let outcomes = join_all((0..50).map(|_| outcome(&world.jwks, "rsa"))).await;
    assert!(outcomes.iter().all(Option::is_none), "{outcomes:?}");
    assert_eq!(world.provider.fetches(), 1);
}

#[tokio::test]
async fn who_hangs_up_neither_ends_a_fetch_nor_uses_up_the_turn() {
    let world = World::new();
    let closed = world
        .provider
        .gate
        .acquire_many(1_000)
        .await
        .expect("it is open");
    {
        let mut caller = Box::pin(world.jwks.key("rsa"));
        assert!(poll!(caller.as_mut()).is_pending());
        while world.provider.fetches() == 0 {
            tokio::task::yield_now().await;
        }
    }
    drop(closed);
    assert_eq!(outcome(&world.jwks, "rsa").await, None);
    assert_eq!(world.provider.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_is_waited_for_only_so_long() {
    let world = World::new();
    let _closed = world
        .provider
        .gate
        .acquire_many(1_000)
        .await
        .expect("it is open");
    let began = tokio::time::Instant::now();
    assert_eq!(
        outcome(&world.jwks, "rsa").await,
        Some(Reason::KeysUnavailable)
    );
    assert_eq!(began.elapsed(), FETCH_TIMEOUT);
}
