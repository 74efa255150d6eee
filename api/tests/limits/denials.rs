//! What the audit tells of refusals.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use toolroom_api::{
    RequestContext,
    auth::{Credential, Identity},
    denial::{Denials, Which},
};
use toolroom_domain::{
    Actor, ApiKeyId, ErrorCode, Role, WorkspaceId, access::Caller, access::Operation,
    limits::DENIALS_PER_HOUR,
};
use uuid::Uuid;

use crate::support::{App, HandClock};

fn sender(n: u128, denials: &Denials) -> RequestContext {
    let id = ApiKeyId::from_uuid(Uuid::from_u128(n));
    let identity = Identity {
        workspace: WorkspaceId::DEFAULT,
        actor: Actor::key(id),
        caller: Caller::Key(Role::Viewer),
        credential: Credential::Key {
            id,
            prefix: "k7m2pq9x".to_owned(),
        },
        email: None,
    };
    RequestContext {
        ip: Some("192.0.2.7".to_owned()),
        user_agent: Some("a-program/1".to_owned()),
        denials: Some(denials.clone()),
        ..RequestContext::of(identity, format!("request-{n}"))
    }
}

fn refuse(ctx: &RequestContext) {
    let refused = ctx.require(Operation::RegisterTool).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Forbidden);
}

/// The audit's refusals, the oldest first.
async fn audit(app: &App, event_type: &str) -> Vec<Value> {
    let query = "query ($type: String!) {
        auditLog(filter: { type: [$type] }, order: ASC, first: 200) {
            nodes { type actor aggregateType payload ip userAgent correlationId }
        }
    }";
    let mut told = app.ask(query, json!({ "type": event_type })).await;
    serde_json::from_value(told["auditLog"]["nodes"].take()).unwrap()
}

#[tokio::test]
async fn the_first_of_its_kind_is_told_at_once_and_the_rest_together() {
    let app = App::start().await;
    let clock = HandClock::at("2026-11-21T10:00:00Z");
    let denials = Denials::new(Arc::new(clock.clone()));
    let ctx = sender(1, &denials);
    refuse(&ctx);
    assert!(denials.tell(&app.state.log.bus, Which::Due).await);
    app.settled().await;
    let told = audit(&app, "AccessDenied").await;
    let [first] = &told[..] else {
        panic!("expected one refusal: {told:?}");
    };
    assert_eq!(first["actor"], ctx.actor.as_str());
    assert_eq!(first["aggregateType"], "denial");
    assert_eq!(first["payload"]["operation"], "registerTool");
    assert_eq!(first["payload"]["reason"], "FORBIDDEN");
    assert_eq!(first["payload"]["count"], 1);
    assert_eq!(first["ip"], "192.0.2.7");
    assert_eq!(first["userAgent"], "a-program/1");
    assert_eq!(first["correlationId"], "request-1");

    for _ in 0..7 {
        clock.pass(Duration::from_millis(500));
        refuse(&ctx);
    }
    assert!(denials.tell(&app.state.log.bus, Which::Due).await);
    app.settled().await;
    assert_eq!(audit(&app, "AccessDenied").await.len(), 1, "too early");
    clock.pass(Duration::from_secs(5));
    assert!(denials.tell(&app.state.log.bus, Which::Due).await);
    app.settled().await;
    let told = audit(&app, "AccessDenied").await;
    assert_eq!(told.len(), 2);
    assert_eq!(told[1]["payload"]["count"], 7);
    assert_eq!(told[1]["payload"]["first_at"], "2026-11-21T10:00:00.5Z");
    assert_eq!(told[1]["payload"]["last_at"], "2026-11-21T10:00:03.5Z");
    app.stop().await;
}

#[tokio::test]
async fn an_hour_of_refusals_is_bounded_whoever_tries_and_their_number_is_told() {
    let app = App::start().await;
    let clock = HandClock::at("2026-11-21T10:00:00Z");
    // Two nodes, each refusing many keys many things.
    let nodes = [(); 2].map(|()| Denials::new(Arc::new(clock.clone())));
    let bus = &app.state.log.bus;
    let mut refused = 0;
    for minute in 0..10 {
        for (n, node) in nodes.iter().enumerate() {
            for key in 0..120 {
                refuse(&sender(1_000 * n as u128 + key + minute, node));
                refused += 1;
            }
            assert!(node.tell(bus, Which::Due).await);
        }
        clock.pass(Duration::from_secs(60));
    }
    clock.pass(Duration::from_secs(3_600));
    for node in &nodes {
        assert!(node.tell(bus, Which::All).await);
    }
    app.settled().await;
    let told = audit(&app, "AccessDenied").await;
    assert_eq!(told.len(), DENIALS_PER_HOUR as usize);
    let omitted = audit(&app, "AccessDenialsOmitted").await;
    assert_eq!(omitted.len(), nodes.len());
    assert_eq!(omitted[0]["actor"], "system:audit");
    let count = |events: &[Value]| -> u64 {
        let counts = events
            .iter()
            .map(|event| event["payload"]["count"].as_u64());
        counts.map(Option::unwrap).sum()
    };
    assert_eq!(count(&told) + count(&omitted), refused);
    app.stop().await;
}

#[tokio::test]
async fn whoever_is_in_no_workspace_fills_no_audit() {
    let app = App::start().await;
    let clock = HandClock::at("2026-11-21T10:00:00Z");
    let denials = Denials::new(Arc::new(clock));
    let ctx = RequestContext {
        denials: Some(denials.clone()),
        ..RequestContext::of(Identity::anonymous(), "request-1")
    };
    let refused = ctx.require(Operation::Tools).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unauthenticated);
    assert!(denials.tell(&app.state.log.bus, Which::All).await);
    let events: i64 =
        sqlx::query_scalar("select count(*) from events where aggregate_type = 'denial'")
            .fetch_one(&app.owner().await)
            .await
            .unwrap();
    assert_eq!(events, 0);
    app.stop().await;
}

#[tokio::test]
async fn a_stopping_server_tells_what_it_gathered() {
    let app = App::start().await;
    let clock = HandClock::at("2026-11-21T10:00:00Z");
    let denials = Denials::new(Arc::new(clock));
    let shutdown = CancellationToken::new();
    let recording = tokio::spawn(
        denials
            .clone()
            .record(app.state.log.bus.clone(), shutdown.clone()),
    );
    for _ in 0..5 {
        refuse(&sender(1, &denials));
    }
    shutdown.cancel();
    recording.await.unwrap();
    app.settled().await;
    let told = audit(&app, "AccessDenied").await;
    let counts = told
        .iter()
        .map(|event| event["payload"]["count"].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), 5);
    app.stop().await;
}
