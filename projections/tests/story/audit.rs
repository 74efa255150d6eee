//! How the log is searched.

use toolroom_domain::WorkspaceId;
use toolroom_eventlog::{ids, verify};
use toolroom_projections::{
    Page, PageRequest,
    audit::{AuditFilter, AuditQuery, AuditRow, Order, query},
};

use crate::support::{App, WORKSPACE};

async fn search(
    app: &App,
    filter: AuditFilter,
    order: Order,
    page: PageRequest<i64>,
) -> Page<AuditRow> {
    let search = AuditQuery {
        filter,
        order,
        page,
    };
    query::list(app.reads(), WORKSPACE, &search).await.unwrap()
}

fn positions(page: &Page<AuditRow>) -> Vec<i64> {
    page.rows.iter().map(|row| row.event.position).collect()
}

#[tokio::test]
async fn events_are_listed_both_ways_with_the_link_before_them() {
    let app = App::start().await;
    let tool = app.register("say").await;
    for active in [false, true, false] {
        app.toggle(tool, active).await;
    }
    app.settled().await;
    let filter = AuditFilter::default;
    let all = search(&app, filter(), Order::Ascending, PageRequest::first(10)).await;
    assert_eq!(positions(&all), [1, 2, 3, 4]);
    assert_eq!(all.rows[0].previous_hash, verify::seed());
    for pair in all.rows.windows(2) {
        assert_eq!(pair[1].previous_hash, pair[0].event.hash);
    }
    let page = PageRequest {
        first: 2,
        after: Some(4),
        with_total: true,
    };
    let back = search(&app, filter(), Order::Descending, page).await;
    assert_eq!(
        (positions(&back), back.has_next, back.total_count),
        (vec![3, 2], true, Some(4))
    );
    let third = query::event(app.reads(), WORKSPACE, 3)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(third.previous_hash, all.rows[1].event.hash);
    assert_eq!(third.event.event_type, "ToolActivated");
    let other = WorkspaceId::from_uuid(ids::new_uuid());
    assert!(query::event(app.reads(), other, 3).await.unwrap().is_none());
    app.stop().await;
}

#[tokio::test]
async fn every_filter_finds_what_it_lets_pass_live() {
    let app = App::start().await;
    let tool = app.register("say").await;
    app.toggle(tool, false).await;
    let job = app.request(tool).await;
    app.settled().await;
    let events = app.log.feed.read(0, 10).await.unwrap();
    let second = events[1].logged_at;
    let text = |text: &str| Some(text.to_owned());
    let filters = [
        (AuditFilter::default(), 3),
        (
            AuditFilter {
                aggregate_type: vec!["tool".to_owned()],
                ..AuditFilter::default()
            },
            2,
        ),
        (
            AuditFilter {
                aggregate_id: Some(job.to_string()),
                ..AuditFilter::default()
            },
            1,
        ),
        (
            AuditFilter {
                event_type: vec!["ToolDeactivated".to_owned()],
                ..AuditFilter::default()
            },
            1,
        ),
        (
            AuditFilter {
                actor: text("user:local"),
                ..AuditFilter::default()
            },
            3,
        ),
        (
            AuditFilter {
                actor: text("user:other"),
                ..AuditFilter::default()
            },
            0,
        ),
        (
            AuditFilter {
                correlation_id: text("a-request"),
                ..AuditFilter::default()
            },
            3,
        ),
        (
            AuditFilter {
                correlation_id: text("another"),
                ..AuditFilter::default()
            },
            0,
        ),
        (
            AuditFilter {
                from: Some(second),
                ..AuditFilter::default()
            },
            2,
        ),
        (
            AuditFilter {
                to: Some(second),
                ..AuditFilter::default()
            },
            1,
        ),
    ];
    for (filter, count) in filters {
        let live: Vec<i64> = events
            .iter()
            .filter(|event| filter.matches(WORKSPACE, event))
            .map(|event| event.position)
            .collect();
        let found = search(
            &app,
            filter.clone(),
            Order::Ascending,
            PageRequest::first(10),
        )
        .await;
        assert_eq!(positions(&found), live, "{filter:?}");
        assert_eq!(live.len(), count, "{filter:?}");
    }
    let other = WorkspaceId::from_uuid(ids::new_uuid());
    assert!(!AuditFilter::default().matches(other, &events[0]));
    app.stop().await;
}
