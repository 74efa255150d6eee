//! Proof: what was changed, cut or passed over is found, and named by its position.

use sqlx::PgPool;
use toolroom_eventlog::verify::{self, Anchor, Error, verify};

use crate::support::Started;

/// A log of five events, and the owner's way to tamper with it.
async fn five_events() -> Started {
    let app = Started::new().await;
    for i in 0..5 {
        app.register(&format!("tool{i}")).await.unwrap();
    }
    app.reaches(5).await;
    app
}

async fn tamper(owner: &PgPool, statement: &str) {
    let mut tx = owner.begin().await.unwrap();
    sqlx::query("set local session_replication_role = replica")
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query(statement).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

async fn first_bad(owner: &PgPool) -> i64 {
    match verify(owner, None, |_| {}).await {
        Err(Error::Broken { position, .. }) => position,
        other => panic!("the tampering was not noticed: {other:?}"),
    }
}

#[tokio::test]
async fn a_sound_log_is_sound_and_the_two_implementations_agree() {
    let app = five_events().await;
    let report = verify(&app.owner, None, |_| {}).await.unwrap();
    let head = app.log.feed.head().await.unwrap();
    assert_eq!((report.events, report.unsequenced), (5, 0));
    assert_eq!(report.head, verify::hex(&head.hash));
    app.stop().await;
}

#[tokio::test]
async fn an_empty_log_is_sound() {
    let app = Started::new().await;
    let report = verify(&app.owner, None, |_| {}).await.unwrap();
    assert_eq!(report.events, 0);
    assert_eq!(report.head, verify::hex(&verify::seed()));
    app.stop().await;
}

#[tokio::test]
async fn a_changed_payload_is_named() {
    let app = five_events().await;
    let change = "update events set payload = replace(payload::text, 'tool2', 'toolX')::json
                  where payload::text like '%tool2%'";
    tamper(&app.owner, change).await;
    assert_eq!(first_bad(&app.owner).await, 3);
    app.stop().await;
}

#[tokio::test]
async fn a_changed_actor_or_time_is_named() {
    for change in [
        "update events set metadata = replace(metadata::text, 'user:local', 'user:mallory')::json
         where global_seq = (select global_seq from event_log where position = 4)",
        "update events set recorded_at = recorded_at - interval '1 second'
         where global_seq = (select global_seq from event_log where position = 4)",
        "update event_log set time = time - interval '1 microsecond' where position = 4",
    ] {
        let app = five_events().await;
        tamper(&app.owner, change).await;
        assert_eq!(first_bad(&app.owner).await, 4, "{change}");
        app.stop().await;
    }
}

#[tokio::test]
async fn a_deleted_event_or_place_is_named() {
    for change in [
        "delete from events where global_seq = (select global_seq from event_log where position = 2)",
        "delete from event_log where position = 2",
    ] {
        let app = five_events().await;
        tamper(&app.owner, change).await;
        assert_eq!(first_bad(&app.owner).await, 2, "{change}");
        app.stop().await;
    }
}

#[tokio::test]
async fn an_event_slipped_in_behind_the_cursor_is_noticed() {
    let app = five_events().await;
    tamper(
        &app.owner,
        r#"insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, tx_id)
           values ('tool', 'forged', 1, 'ToolRegistered', '1.0', '{}', '{"workspace_id":"w"}', '3')"#,
    )
    .await;
    assert_eq!(first_bad(&app.owner).await, 6);
    app.stop().await;
}

#[tokio::test]
async fn a_cut_tail_is_found_by_an_anchor_and_by_nothing_else() {
    let app = five_events().await;
    let head = app.log.feed.head().await.unwrap();
    let anchor = Anchor {
        position: 5,
        hash: verify::hex(&head.hash),
    };
    verify(&app.owner, Some(&anchor), |_| {}).await.unwrap();
    // a thorough forger cuts everywhere
    tamper(&app.owner, "delete from events where global_seq = (select global_seq from event_log where position = 5)").await;
    tamper(&app.owner, "delete from event_log where position = 5").await;
    tamper(
        &app.owner,
        "update sequencer_state s set position = 4, hash = l.hash, time = l.time, cursor_seq = l.global_seq,
                cursor_tx = (select tx_id from events e where e.global_seq = l.global_seq)
         from event_log l where l.position = 4",
    )
    .await;
    verify(&app.owner, None, |_| {}).await.unwrap();
    assert!(matches!(
        verify(&app.owner, Some(&anchor), |_| {}).await,
        Err(Error::Broken { position: 5, .. })
    ));
    let wrong = Anchor {
        position: 3,
        hash: "00".repeat(32),
    };
    assert!(matches!(
        verify(&app.owner, Some(&wrong), |_| {}).await,
        Err(Error::Broken { position: 3, .. })
    ));
    app.stop().await;
}
