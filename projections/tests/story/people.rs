//! What is told of workspaces, members and API keys.

use toolroom_domain::{
    Role, WorkspaceId,
    workspace::{Command, MemberRef, Plan, Sender},
};
use toolroom_eventlog::ids;
use toolroom_projections::{
    PageRequest, api_keys,
    members::{self, MemberRow, Status},
    workspaces::{self, Whose},
};

use crate::support::{App, WORKSPACE, at, invitation, user};

async fn member(app: &App, id: WorkspaceId, member: MemberRef) -> Option<MemberRow> {
    members::query::find(app.reads(), id, &member)
        .await
        .unwrap()
}

async fn names(app: &App, whose: Whose) -> Vec<String> {
    let across = app.log.database.authenticator_pool();
    let page = PageRequest::first(10);
    let page = workspaces::query::across(across, &whose, &page).await;
    page.unwrap().rows.into_iter().map(|row| row.name).collect()
}

#[tokio::test]
async fn a_workspace_is_told_as_its_last_change_left_it() {
    let app = App::start().await;
    let id = app.create_workspace("first", "ann", 1).await;
    let sender = Sender::Operator;
    let update = Command::Update {
        sender: sender.clone(),
        name: Some("renamed".to_owned()),
        time_zone: Some("Europe/Berlin".to_owned()),
        at: at(2),
    };
    assert!(app.workspace(id, update).await);
    let grant = Command::ChangePlan {
        sender: sender.clone(),
        plan: Plan::Pro,
        at: at(3),
    };
    assert!(app.workspace(id, grant).await);
    app.settled().await;
    let row = workspaces::query::by_id(app.reads(), id).await.unwrap();
    let row = row.expect("it is there");
    assert_eq!((row.name.as_str(), row.plan), ("renamed", Plan::Pro));
    assert_eq!(row.time_zone, "Europe/Berlin");
    assert_eq!((row.created_at, row.is_deleted), (at(1), false));

    let delete = Command::Delete { sender, at: at(4) };
    assert!(app.workspace(id, delete).await);
    app.settled().await;
    let row = workspaces::query::by_id(app.reads(), id).await.unwrap();
    assert!(row.is_some_and(|row| row.is_deleted));
    assert_eq!(names(&app, Whose::Everybody).await, Vec::<String>::new());
    app.stop().await;
}

#[tokio::test]
async fn a_users_workspaces_are_those_where_they_are_a_member_now() {
    let app = App::start().await;
    let across = app.log.database.authenticator_pool();
    let first = app.create_workspace("first", "ann", 1).await;
    app.create_workspace("second", "bob", 2).await;
    let third = app.create_workspace("third", "bob", 3).await;
    assert!(app.invite(third, 1, "ann@example.org", 4).await);
    app.settled().await;
    let of = |name: &str| names(&app, Whose::User(user(name)));
    assert_eq!(of("ann").await, ["first"], "an invitation opens nothing");
    assert_eq!(of("bob").await, ["third", "second"]);
    assert_eq!(of("inv_00000000000000000000000000000001x").await, [""; 0]);

    assert!(app.accept(third, 1, "ann", 5).await);
    app.settled().await;
    assert_eq!(of("ann").await, ["third", "first"]);
    let first_of = async |name| workspaces::query::first_of(across, &user(name)).await;
    assert_eq!(first_of("ann").await.unwrap(), Some(first));
    assert_eq!(first_of("eve").await.unwrap(), None);
    let all = PageRequest {
        first: 2,
        after: None,
        with_total: true,
    };
    let page = workspaces::query::across(across, &Whose::Everybody, &all).await;
    let page = page.unwrap();
    assert_eq!((page.has_next, page.total_count), (true, Some(3)));
    let rest = PageRequest {
        after: page.rows.last().map(workspaces::WorkspaceRow::key),
        ..all
    };
    let page = workspaces::query::across(across, &Whose::Everybody, &rest).await;
    assert_eq!(page.unwrap().rows[0].id, first);

    let remove = Command::Remove {
        sender: Sender::Operator,
        member: MemberRef::User(user("ann")),
        at: at(6),
    };
    assert!(app.workspace(third, remove).await);
    app.settled().await;
    assert_eq!(of("ann").await, ["first"]);
    app.stop().await;
}

#[tokio::test]
async fn an_invitation_goes_on_as_the_member_who_accepted_it() {
    let app = App::start().await;
    let id = app.create_workspace("first", "ann", 1).await;
    assert!(app.invite(id, 7, "bob@example.com", 2).await);
    app.settled().await;
    let by_invitation = || member(&app, id, MemberRef::Invitation(invitation(7)));
    let invited = by_invitation().await.expect("is invited");
    assert_eq!(invited.id, invitation(7).to_string());
    assert_eq!(
        (invited.status, invited.role, invited.joined_at),
        (Status::Invited, Role::Member, None)
    );

    assert!(app.accept(id, 7, "bob", 3).await);
    let raise = Command::SetRole {
        sender: Sender::Operator,
        member: MemberRef::Invitation(invitation(7)),
        role: Role::Admin,
        at: at(4),
    };
    assert!(app.workspace(id, raise).await);
    app.settled().await;
    let joined = by_invitation().await.expect("joined");
    assert_eq!(joined.id, "bob");
    assert_eq!((joined.status, joined.role), (Status::Active, Role::Admin));
    assert_eq!((joined.added_at, joined.joined_at), (at(2), Some(at(3))));
    assert_eq!(
        member(&app, id, MemberRef::User(user("bob"))).await,
        Some(joined)
    );
    let page = PageRequest {
        first: 10,
        after: None,
        with_total: true,
    };
    let all = members::query::list(app.reads(), id, &page).await.unwrap();
    let ids: Vec<_> = all.rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!((ids, all.total_count), (vec!["bob", "ann"], Some(2)));
    app.stop().await;
}

#[tokio::test]
async fn who_comes_back_has_one_row() {
    let app = App::start().await;
    let id = app.create_workspace("first", "ann", 1).await;
    for round in [1_u8, 2] {
        let second = i64::from(round) * 10;
        assert!(app.invite(id, round, "bob@example.com", second).await);
        assert!(app.accept(id, round, "bob", second + 1).await);
        let remove = Command::Remove {
            sender: Sender::Operator,
            member: MemberRef::User(user("bob")),
            at: at(second + 2),
        };
        assert!(app.workspace(id, remove).await);
    }
    // Withdrawn by the next of the same address.
    assert!(app.invite(id, 3, "bob@example.com", 30).await);
    assert!(app.invite(id, 4, "BOB@example.com", 31).await);
    app.settled().await;
    let page = PageRequest::first(10);
    let all = members::query::list(app.reads(), id, &page).await.unwrap();
    let told: Vec<_> = all
        .rows
        .iter()
        .map(|row| (row.id.clone(), row.status, row.added_at))
        .collect();
    let of = |number| invitation(number).to_string();
    assert_eq!(
        told,
        [
            (of(4), Status::Invited, at(31)),
            (of(3), Status::Removed, at(30)),
            ("bob".to_owned(), Status::Removed, at(20)),
            ("ann".to_owned(), Status::Active, at(1)),
        ]
    );
    app.stop().await;
}

#[tokio::test]
async fn keys_are_listed_newest_first_and_counted_while_they_open() {
    let app = App::start().await;
    let first = app.create_key("first", 1, None).await;
    let second = app.create_key("second", 2, Some(50)).await;
    let third = app.create_key("third", 3, None).await;
    assert!(app.revoke_key(third, 9).await);
    assert!(app.revoke_key(third, 10).await);
    app.settled().await;
    let page = PageRequest {
        first: 2,
        after: None,
        with_total: true,
    };
    let list = async |page| {
        let rows = api_keys::query::list(app.reads(), WORKSPACE, &page).await;
        rows.unwrap()
    };
    let begin = list(page).await;
    assert_eq!((begin.has_next, begin.total_count), (true, Some(3)));
    let ids: Vec<_> = begin.rows.iter().map(|row| row.id).collect();
    assert_eq!(ids, [third, second]);
    assert_eq!(begin.rows[0].revoked_at, Some(at(9)));
    assert_eq!(begin.rows[1].expires_at, Some(at(50)));
    let rest = list(PageRequest {
        after: Some(begin.rows[1].key()),
        ..PageRequest::first(2)
    })
    .await;
    assert_eq!(
        rest.rows.iter().map(|row| row.id).collect::<Vec<_>>(),
        [first]
    );

    let open = async |second| {
        let count = api_keys::query::open_at(app.reads(), WORKSPACE, at(second));
        count.await.unwrap()
    };
    assert_eq!((open(49).await, open(50).await), (2, 1));
    app.stop().await;
}

#[tokio::test]
async fn another_workspace_sees_neither_members_nor_keys() {
    let app = App::start().await;
    app.create_workspace("first", "ann", 1).await;
    app.create_key("key", 1, None).await;
    app.settled().await;
    let other = WorkspaceId::from_uuid(ids::new_uuid());
    let reads = app.reads();
    let ann = MemberRef::User(user("ann"));
    assert_eq!(member(&app, other, ann).await, None);
    let page = PageRequest::first(10);
    let members = members::query::list(reads, other, &page).await.unwrap();
    assert_eq!(members.rows, []);
    let page = PageRequest::first(10);
    let keys = api_keys::query::list(reads, other, &page).await.unwrap();
    assert_eq!(keys.rows, []);
    let count = api_keys::query::open_at(reads, other, at(2)).await;
    assert_eq!(count.unwrap(), 0);
    assert_eq!(workspaces::query::by_id(reads, other).await.unwrap(), None);
    app.stop().await;
}
