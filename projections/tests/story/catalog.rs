//! What the catalogue tells.

use toolroom_domain::{
    ToolId, WorkspaceId,
    tool::{Command, DetailsPatch, Kind},
};
use toolroom_eventlog::{history, ids};
use toolroom_projections::{
    Page, PageRequest,
    catalog::{ListTools, ToolFilter, ToolRow, as_of, query},
};

use crate::support::{App, WORKSPACE, at, native};

fn revise(details: DetailsPatch) -> Command {
    Command::Revise {
        expected_version: None,
        details,
        definition: Some(native("time.now")),
        active: Some(false),
        at: at(2),
    }
}

async fn list(app: &App, filter: ToolFilter, page: PageRequest<i32>) -> Page<ToolRow> {
    let list = ListTools { filter, page };
    query::list(app.reads(), WORKSPACE, &list).await.unwrap()
}

async fn names(app: &App, filter: ToolFilter) -> Vec<String> {
    let page = list(app, filter, PageRequest::first(10)).await;
    page.rows.into_iter().map(|row| row.name).collect()
}

#[tokio::test]
async fn a_tool_is_found_as_its_last_change_left_it() {
    let app = App::start().await;
    let id = app.register("say").await;
    let renamed = DetailsPatch {
        name: Some("tell".to_owned()),
        title: Some(Some("Tell".to_owned())),
        ..DetailsPatch::default()
    };
    assert!(app.tool(id, revise(renamed)).await);
    app.settled().await;

    let tool = query::by_id(app.reads(), WORKSPACE, id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (tool.name.as_str(), tool.title.as_deref(), tool.version),
        ("tell", Some("Tell"), 2)
    );
    assert_eq!(tool.definition, *native("time.now"));
    assert_eq!((tool.is_active, tool.is_deleted), (false, false));
    assert_eq!((tool.created_at, tool.updated_at), (at(1), at(2)));
    assert_eq!(tool.created_by, "user:local");
    assert_eq!(tool.last_event, app.sequenced().await);

    assert_eq!(
        query::by_name(app.reads(), WORKSPACE, "say").await.unwrap(),
        None
    );
    let by_name = query::by_name(app.reads(), WORKSPACE, "tell")
        .await
        .unwrap();
    assert_eq!(by_name.as_ref(), Some(&tool));
    let by_number = query::by_number(app.reads(), WORKSPACE, 1).await.unwrap();
    assert_eq!(by_number.as_ref(), Some(&tool));
    let unknown = ToolId::from_uuid(ids::new_uuid());
    let found = query::by_ids(app.reads(), WORKSPACE, &[id, unknown])
        .await
        .unwrap();
    assert_eq!(found, [tool]);
    app.stop().await;
}

#[tokio::test]
async fn every_version_stays_as_it_was_made() {
    let app = App::start().await;
    let id = app.register("say").await;
    assert!(app.tool(id, revise(DetailsPatch::default())).await);
    assert!(
        app.tool(
            id,
            Command::RestoreVersion {
                version: 1,
                at: at(3)
            }
        )
        .await
    );
    app.settled().await;

    let page = PageRequest {
        first: 2,
        after: None,
        with_total: true,
    };
    let versions = query::versions(app.reads(), WORKSPACE, id, &page)
        .await
        .unwrap();
    assert_eq!((versions.has_next, versions.total_count), (true, Some(3)));
    assert_eq!(versions.rows[0].definition, *native("echo"));
    assert_eq!(versions.rows[1].definition, *native("time.now"));
    let rest = PageRequest {
        after: Some(2),
        ..page
    };
    let rest = query::versions(app.reads(), WORKSPACE, id, &rest)
        .await
        .unwrap();
    assert_eq!((rest.has_next, rest.has_previous), (false, true));
    let third = query::version(app.reads(), WORKSPACE, id, 3)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((third.restored_from, third.changed_at), (Some(1), at(3)));
    assert_eq!(rest.rows, [third]);
    assert_eq!(
        query::version(app.reads(), WORKSPACE, id, 4).await.unwrap(),
        None
    );
    app.stop().await;
}

#[tokio::test]
async fn a_deleted_tool_is_known_by_its_ids_only_and_frees_its_name() {
    let app = App::start().await;
    let id = app.register_with("say", 1, |_| {}).await;
    assert!(app.tool(id, Command::Delete { at: at(2) }).await);
    let successor = app.register_with("say", 2, |_| {}).await;
    app.settled().await;

    let deleted = query::by_id(app.reads(), WORKSPACE, id)
        .await
        .unwrap()
        .unwrap();
    assert!(deleted.is_deleted);
    assert_eq!(
        query::by_number(app.reads(), WORKSPACE, 1).await.unwrap(),
        Some(deleted)
    );
    let holder = query::by_name(app.reads(), WORKSPACE, "say")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(holder.id, successor);
    assert_eq!(names(&app, ToolFilter::default()).await, ["say"]);
    app.stop().await;
}

#[tokio::test]
async fn tools_are_listed_by_number_and_filtered() {
    let app = App::start().await;
    for (number, name) in [(3, "c"), (1, "a"), (2, "b")] {
        let id = app
            .register_with(name, number, |details| {
                details.category = Some(format!("of {name}"));
                details.tags = vec![format!("tag-{name}"), "100%".to_owned()];
                details.description = format!("Describes {}", name.to_uppercase());
            })
            .await;
        if name == "b" {
            app.toggle(id, false).await;
        }
    }
    app.settled().await;

    let first = list(
        &app,
        ToolFilter::default(),
        PageRequest {
            with_total: true,
            ..PageRequest::first(2)
        },
    )
    .await;
    assert_eq!(
        (first.has_next, first.has_previous, first.total_count),
        (true, false, Some(3))
    );
    assert_eq!(
        first.rows.iter().map(|row| row.number).collect::<Vec<_>>(),
        [1, 2]
    );
    let after = PageRequest {
        after: Some(2),
        ..PageRequest::first(2)
    };
    let second = list(&app, ToolFilter::default(), after).await;
    assert_eq!(
        (second.has_next, second.has_previous, second.total_count),
        (false, true, None)
    );
    assert_eq!(second.rows[0].name, "c");

    let one = |edit: &dyn Fn(&mut ToolFilter)| {
        let mut filter = ToolFilter::default();
        edit(&mut filter);
        names(&app, filter)
    };
    assert_eq!(one(&|f| f.tag = Some("tag-a".to_owned())).await, ["a"]);
    assert_eq!(one(&|f| f.category = Some("of c".to_owned())).await, ["c"]);
    assert_eq!(one(&|f| f.is_active = Some(false)).await, ["b"]);
    assert_eq!(
        one(&|f| f.search = Some("describes B".to_owned())).await,
        ["b"]
    );
    assert_eq!(one(&|f| f.search = Some("100%".to_owned())).await.len(), 3);
    assert!(
        one(&|f| f.search = Some("1_0%".to_owned()))
            .await
            .is_empty()
    );
    assert_eq!(one(&|f| f.kind = Some(Kind::Native)).await.len(), 3);
    assert!(one(&|f| f.kind = Some(Kind::Rest)).await.is_empty());
    assert_eq!(
        one(&|f| f.tool_type = Some("NATIVE".to_owned()))
            .await
            .len(),
        3
    );
    app.stop().await;
}

#[tokio::test]
async fn another_workspace_sees_nothing() {
    let app = App::start().await;
    let id = app.register("say").await;
    app.settled().await;
    let other = WorkspaceId::from_uuid(ids::new_uuid());
    let reads = app.reads();
    assert_eq!(query::by_id(reads, other, id).await.unwrap(), None);
    assert_eq!(query::by_name(reads, other, "say").await.unwrap(), None);
    assert_eq!(query::by_number(reads, other, 1).await.unwrap(), None);
    assert_eq!(query::by_ids(reads, other, &[id]).await.unwrap(), []);
    assert_eq!(query::version(reads, other, id, 1).await.unwrap(), None);
    let all = ListTools {
        filter: ToolFilter::default(),
        page: PageRequest::first(10),
    };
    assert_eq!(query::list(reads, other, &all).await.unwrap().rows, []);
    app.stop().await;
}

#[tokio::test]
async fn the_past_folded_from_events_is_what_the_tables_say_now() {
    let app = App::start().await;
    let id = app.register_with("say", 1, |_| {}).await;
    let gone = app.register_with("gone", 2, |_| {}).await;
    let before = app.sequenced().await;
    assert!(app.tool(id, revise(DetailsPatch::default())).await);
    assert!(app.tool(gone, Command::Delete { at: at(2) }).await);
    app.settled().await;

    let head = app.sequenced().await;
    let events = history::of_kind(app.reads(), WORKSPACE, "tool", head)
        .await
        .unwrap();
    let mut now = query::by_ids(app.reads(), WORKSPACE, &[id, gone])
        .await
        .unwrap();
    now.sort_by_key(|row| row.number);
    assert_eq!(as_of(&events).unwrap(), now);
    let events = history::of_kind(app.reads(), WORKSPACE, "tool", before)
        .await
        .unwrap();
    let past = as_of(&events).unwrap();
    assert!(past.iter().all(|row| row.version == 1 && !row.is_deleted));
    app.stop().await;
}

#[tokio::test]
async fn a_tool_tells_whether_its_circuit_is_open_without_having_changed() {
    let app = App::start().await;
    let id = app.register("say").await;
    let opened = Command::OpenCircuit {
        failures: 5,
        until: at(70),
        at: at(10),
    };
    assert!(app.tool(id, opened).await);
    app.settled().await;
    let tool = async || {
        query::by_id(app.reads(), WORKSPACE, id)
            .await
            .unwrap()
            .unwrap()
    };
    let broken = tool().await;
    assert_eq!(broken.circuit_open_until, Some(at(70)));
    assert_eq!(broken.updated_at, at(1));
    assert!(app.tool(id, Command::CloseCircuit { at: at(75) }).await);
    app.settled().await;
    assert_eq!(tool().await.circuit_open_until, None);
    app.stop().await;
}
