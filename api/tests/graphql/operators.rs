//! What operators do: dead letters and rebuilds, each once under its command id.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{App, PATIENCE};

const RETRY: &str = "mutation ($id: ID!, $command: String) {
    retryDeadLetter(id: $id, commandId: $command) {
        id projection position error attempts heldAggregate at
    }
}";

const REBUILD: &str = "mutation ($name: String!, $command: String) {
    rebuildProjection(name: $name, commandId: $command) { name state }
}";

async fn owner(app: &App) -> PgPool {
    app.state.log.database.owner_pool().await.unwrap()
}

/// The ids of the dead letters that two tools are, whose names the catalogue refused for a while.
async fn two_dead_letters(app: &App) -> Vec<Value> {
    let owner = owner(app).await;
    let refuse = "alter table projections.tools add constraint well check (name not like 'sick%')";
    sqlx::query(refuse).execute(&owner).await.unwrap();
    app.register("sick_one").await;
    app.register("sick_two").await;
    let list = "{ deadLetters { nodes { id error } } }";
    let letters = app.ask(list, json!({})).await["deadLetters"]["nodes"].take();
    let mend = "alter table projections.tools drop constraint well";
    sqlx::query(mend).execute(&owner).await.unwrap();
    owner.close().await;
    let letters = letters.as_array().unwrap();
    letters.iter().map(|letter| letter["id"].clone()).collect()
}

#[tokio::test]
async fn a_retry_under_one_command_id_has_one_outcome() {
    let app = App::start().await;
    let letters = two_dead_letters(&app).await;
    assert_eq!(letters.len(), 2);
    let retry = |letter: usize, command: &str| {
        let variables = json!({ "id": letters[letter], "command": command });
        app.send(RETRY, variables)
    };
    let sent = (0..8).map(|_| retry(0, "mend"));
    let outcomes = futures::future::join_all(sent).await;
    let first = outcomes[0].data.clone().into_json().unwrap();
    assert_eq!(first["retryDeadLetter"]["attempts"], 1, "{outcomes:?}");
    for outcome in outcomes {
        assert_eq!(outcome.data.into_json().unwrap(), first);
    }
    let found = app.ask("{ tool(name: \"sick_two\") { name } }", json!({}));
    assert_eq!(found.await["tool"]["name"], "sick_two");

    let other = json!({ "id": letters[1], "command": "mend" });
    let refused = app.refusal(RETRY, other).await;
    assert_eq!(refused["code"], "IDEMPOTENCY_CONFLICT");
    let again = json!({ "id": letters[0], "command": "mend again" });
    assert_eq!(app.refusal(RETRY, again).await["code"], "NOT_FOUND");
    // What was refused is not remembered.
    let other = retry(1, "mend again").await;
    assert!(other.errors.is_empty(), "{other:?}");
    app.stop().await;
}

/// How often the catalogue was filled, once no rebuild is under way.
async fn generation(app: &App) -> i64 {
    let pool = app.state.log.database.projector_pool();
    let done = async {
        loop {
            let generation: Option<i64> = sqlx::query_scalar(
                "select generation from read_models
                 where name = 'catalog' and next_generation is null",
            )
            .fetch_optional(pool)
            .await
            .unwrap();
            if let Some(generation) = generation {
                return generation;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, done).await.unwrap()
}

#[tokio::test]
async fn a_rebuild_that_is_asked_for_again_after_its_end_does_not_begin_anew() {
    let app = App::start().await;
    app.register("say").await;
    let rebuild = |name: &str, command: Option<&str>| {
        let variables = json!({ "name": name, "command": command });
        app.send(REBUILD, variables)
    };
    assert_eq!(generation(&app).await, 1);
    for _ in 0..3 {
        let asked = rebuild("catalog", Some("anew")).await;
        assert!(asked.errors.is_empty(), "{asked:?}");
        let told = asked.data.into_json().unwrap();
        assert_eq!(told["rebuildProjection"]["name"], "catalog");
        assert_eq!(generation(&app).await, 2);
    }
    let other = json!({ "name": "jobs", "command": "anew" });
    let refused = app.refusal(REBUILD, other).await;
    assert_eq!(refused["code"], "IDEMPOTENCY_CONFLICT");
    let unknown = json!({ "name": "nothing", "command": "other" });
    assert_eq!(app.refusal(REBUILD, unknown).await["code"], "NOT_FOUND");
    // Whoever names no command asks for one rebuild each time.
    assert!(rebuild("catalog", None).await.errors.is_empty());
    assert_eq!(generation(&app).await, 3);
    app.stop().await;
}
