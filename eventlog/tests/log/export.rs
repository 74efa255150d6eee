//! Exports: a stretch of the log proves itself without a database.

use toolroom_domain::WorkspaceId;
use toolroom_eventlog::{
    CommandContext,
    export::{self, Error, Range, Report},
    verify::{Anchor, hex},
};
use uuid::Uuid;

use crate::support::{Started, context, register};

fn other_workspace() -> WorkspaceId {
    WorkspaceId::from_uuid(Uuid::from_u128(9))
}

/// Six events, every second one of another workspace.
async fn two_workspaces() -> Started {
    let app = Started::new().await;
    for i in 0..3 {
        app.register(&format!("mine{i}")).await.unwrap();
        let theirs = CommandContext {
            workspace: other_workspace(),
            ..context()
        };
        register(&app.log, &format!("theirs{i}"), theirs)
            .await
            .unwrap();
    }
    app.reaches(6).await;
    app
}

async fn exported(app: &Started, from: i64, to: i64, workspace: Option<WorkspaceId>) -> String {
    let mut file = Vec::new();
    let range = Range {
        from,
        to,
        workspace: workspace.map(|w| w.to_string()),
    };
    export::write(&app.owner, &range, &mut file, |_| {})
        .await
        .unwrap();
    String::from_utf8(file).unwrap()
}

fn checked(file: &str) -> Result<Report, Error> {
    export::verify(&mut file.as_bytes(), None)
}

fn bad_line(file: &str) -> u64 {
    match checked(file) {
        Err(Error::Broken { line, .. }) => line,
        other => panic!("the tampering was not noticed: {other:?}"),
    }
}

#[tokio::test]
async fn a_whole_export_and_one_from_the_middle_hold() {
    let app = two_workspaces().await;
    let head = hex(&app.log.feed.head().await.unwrap().hash);
    let whole = checked(&exported(&app, 1, 6, None).await).unwrap();
    assert_eq!((whole.events, whole.digests, &whole.head), (6, 0, &head));
    let middle = checked(&exported(&app, 3, 6, None).await).unwrap();
    assert_eq!((middle.from, middle.events, &middle.head), (3, 4, &head));
    app.stop().await;
}

#[tokio::test]
async fn a_workspaces_export_holds_and_shows_nothing_of_others() {
    let app = two_workspaces().await;
    let file = exported(&app, 1, 6, Some(WorkspaceId::DEFAULT)).await;
    assert!(file.contains("mine2") && !file.contains("theirs"));
    let report = checked(&file).unwrap();
    assert_eq!((report.events, report.digests), (3, 3));
    assert_eq!(report.head, hex(&app.log.feed.head().await.unwrap().hash));
    app.stop().await;
}

#[tokio::test]
async fn whatever_is_changed_cut_swapped_or_added_is_noticed() {
    let app = two_workspaces().await;
    let file = exported(&app, 1, 6, Some(WorkspaceId::DEFAULT)).await;
    let lines: Vec<&str> = file.lines().collect();
    let joined = |lines: &[&str]| lines.iter().map(|l| format!("{l}\n")).collect::<String>();
    assert_eq!(joined(&lines), file);

    // The chain shows a changed event where it ends, the frame at once what is not in order.
    assert_eq!(bad_line(&file.replace("mine1", "mineX")), 8);
    let digest = lines[2].replace("\"sha256\":\"", "\"sha256\":\"00");
    assert_eq!(bad_line(&file.replace(lines[2], &digest)), 3);
    assert_eq!(bad_line(&joined(&[&lines[..3], &lines[4..]].concat())), 4);
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    assert_eq!(bad_line(&joined(&swapped)), 3);
    assert_eq!(bad_line(&joined(&lines[..7])), 8);
    assert_eq!(bad_line(&file[..file.len() - 1]), 8);
    assert_eq!(bad_line(&format!("{file}{}\n", lines[1])), 9);
    assert_eq!(bad_line(&joined(&lines[1..])), 1);
    assert_eq!(bad_line(""), 1);
    app.stop().await;
}

#[tokio::test]
async fn a_rewritten_export_is_found_out_by_a_noted_link() {
    let app = two_workspaces().await;
    let file = exported(&app, 2, 5, None).await;
    let noted = |position, hash: &str| Anchor {
        position,
        hash: hash.to_owned(),
    };
    let fifth = app.log.feed.event(5).await.unwrap().unwrap();
    let check = |anchor| export::verify(&mut file.as_bytes(), Some(&anchor));
    assert!(check(noted(5, &hex(&fifth.hash))).is_ok());
    assert!(
        check(noted(
            1,
            &hex(&app.log.feed.event(1).await.unwrap().unwrap().hash)
        ))
        .is_ok()
    );
    assert!(check(noted(4, &hex(&fifth.hash))).is_err());
    assert!(check(noted(6, &hex(&fifth.hash))).is_err());
    app.stop().await;
}

#[tokio::test]
async fn what_is_not_in_the_log_is_not_exported() {
    let app = two_workspaces().await;
    for (from, to) in [(0, 3), (3, 2), (1, 7)] {
        let range = Range {
            from,
            to,
            workspace: None,
        };
        let refused = export::write(&app.owner, &range, &mut Vec::new(), |_| {}).await;
        assert!(
            matches!(refused, Err(Error::NoSuchRange { head: 6, .. })),
            "{from} to {to}"
        );
    }
    app.stop().await;
}
