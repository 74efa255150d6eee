//! Members: invited by link or mail, joined, changed, removed.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use toolroom_domain::{
    Clock, Role,
    port::{Mail, MailError, Mailer},
};

use crate::{
    people::{
        ACCEPT, INVITE, MEMBERS, REMOVE, SET_ROLE, join, person, program, start, token_of,
        workspace_of, written,
    },
    support::{App, Outside},
};

/// A clock that a test sets.
struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// Keeps letters, or refuses them.
#[derive(Default)]
struct Postbox {
    letters: Mutex<Vec<Mail>>,
    is_closed: AtomicBool,
}

#[async_trait]
impl Mailer for Postbox {
    async fn send(&self, mail: Mail) -> Result<(), MailError> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(MailError("closed".to_owned()));
        }
        self.letters.lock().unwrap().push(mail);
        Ok(())
    }
}

async fn app() -> App {
    start(Outside::default()).await
}

fn bob_as(workspace: &str, role: &str) -> Value {
    json!({ "ws": workspace, "email": "bob@example.com", "role": role })
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_joins_by_a_link_that_works_once() {
    let app = app().await;
    let id = workspace_of(&app, "ann").await;
    let ann = person(&app, "ann", Some(&id)).await;
    let invited = app.ask_as(&ann, INVITE, bob_as(&id, "MEMBER")).await;
    let invited = &invited["inviteMember"];
    assert_eq!(
        (&invited["status"], &invited["role"]),
        (&json!("INVITED"), &json!("MEMBER"))
    );
    assert!(invited["userId"].as_str().unwrap().starts_with("inv_"));
    let token = token_of(invited);
    assert_eq!(token.len(), 43);

    let bob = person(&app, "bob", None).await;
    let joined = app.ask_as(&bob, ACCEPT, json!({ "token": token })).await;
    let expected = json!({ "userId": "bob", "email": "bob@example.com", "role": "MEMBER",
                           "status": "ACTIVE", "inviteUrl": null });
    assert_eq!(joined["acceptInvitation"], expected);
    let again = app
        .ask_as(&bob, ACCEPT, json!({ "token": token, "command": "c" }))
        .await;
    assert_eq!(
        again["acceptInvitation"], expected,
        "accepting twice is fine"
    );
    let eve = person(&app, "eve", None).await;
    let refused = app
        .refusal_as(&eve, ACCEPT, json!({ "token": token }))
        .await;
    assert_eq!(refused["code"], "CONFLICT");
    let made_up = "x".repeat(43);
    for wrong in ["", "short", &made_up, &"x".repeat(1_000_000)] {
        let refused = app
            .refusal_as(&eve, ACCEPT, json!({ "token": wrong }))
            .await;
        assert_eq!(refused["code"], "NOT_FOUND");
    }

    let listed = app.ask_as(&ann, MEMBERS, json!({})).await;
    assert_eq!(listed["members"]["totalCount"], 2);
    assert_eq!(listed["members"]["nodes"][0], expected);
    assert!(
        !written(&app).await.contains(&token),
        "the token is kept nowhere"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_that_is_sent_again_has_no_second_token() {
    let app = app().await;
    let id = workspace_of(&app, "ann").await;
    let ann = person(&app, "ann", Some(&id)).await;
    let mut invite = bob_as(&id, "MEMBER");
    invite["command"] = json!("once");
    let first = app.ask_as(&ann, INVITE, invite.clone()).await;
    let token = token_of(&first["inviteMember"]);
    let mut expected = first["inviteMember"].clone();
    expected["inviteUrl"] = Value::Null;
    let again = app.ask_as(&ann, INVITE, invite.clone()).await;
    assert_eq!(again["inviteMember"], expected);
    invite["role"] = json!("ADMIN");
    let refused = app.refusal_as(&ann, INVITE, invite.clone()).await;
    assert_eq!(refused["code"], "IDEMPOTENCY_CONFLICT");

    let bob = person(&app, "bob", None).await;
    app.ask_as(&bob, ACCEPT, json!({ "token": token })).await;
    invite["role"] = json!("MEMBER");
    let later = app.ask_as(&ann, INVITE, invite).await;
    assert_eq!(
        later["inviteMember"]["userId"], "bob",
        "it went on as who accepted it"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invitations_expire_and_are_withdrawn() {
    let clock = Arc::new(Hands(AtomicI64::new(1_000_000_000)));
    let outside = Outside {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        ..Outside::default()
    };
    let app = start(outside).await;
    let id = workspace_of(&app, "ann").await;
    let ann = person(&app, "ann", Some(&id)).await;
    let invite =
        async || app.ask_as(&ann, INVITE, bob_as(&id, "MEMBER")).await["inviteMember"].take();
    let first = invite().await;
    let second = invite().await;
    let bob = person(&app, "bob", None).await;
    let refused = app
        .refusal_as(&bob, ACCEPT, json!({ "token": token_of(&first) }))
        .await;
    assert_eq!(refused["code"], "NOT_FOUND", "the next one withdrew it");

    let week = 7 * 24 * 3600;
    clock.0.fetch_add(week, Ordering::SeqCst);
    let refused = app
        .refusal_as(&bob, ACCEPT, json!({ "token": token_of(&second) }))
        .await;
    assert_eq!(refused["code"], "CONFLICT");
    assert!(refused["message"].as_str().unwrap().contains("expired"));

    let third = invite().await;
    clock.0.fetch_add(week - 1, Ordering::SeqCst);
    let remove = json!({ "ws": id, "user": third["userId"] });
    let removed = app.ask_as(&ann, REMOVE, remove).await;
    assert_eq!(removed["removeMember"]["status"], "REMOVED");
    let refused = app
        .refusal_as(&bob, ACCEPT, json!({ "token": token_of(&third) }))
        .await;
    assert_eq!(refused["code"], "NOT_FOUND");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_went_by_mail_is_in_no_answer() {
    let postbox = Arc::new(Postbox::default());
    let outside = Outside {
        mailer: Some(Arc::clone(&postbox) as Arc<dyn Mailer>),
        ..Outside::default()
    };
    let app = start(outside).await;
    let id = workspace_of(&app, "ann").await;
    let ann = person(&app, "ann", Some(&id)).await;
    let mut invite = bob_as(&id, "MEMBER");
    invite["command"] = json!("once");
    for _ in 0..2 {
        let invited = app.ask_as(&ann, INVITE, invite.clone()).await;
        assert!(invited["inviteMember"]["inviteUrl"].is_null());
    }
    let letter = {
        let letters = postbox.letters.lock().unwrap();
        assert_eq!(letters.len(), 1, "the repetition sent none");
        letters[0].clone()
    };
    assert_eq!(letter.to, "bob@example.com");
    assert!(
        !letter.subject.contains("ann"),
        "a name of the sender's choice"
    );
    assert!(letter.text.contains("\"ann's\"") && letter.text.contains("MEMBER"));
    let link = letter
        .text
        .lines()
        .find(|line| line.starts_with("http"))
        .unwrap();
    let token = token_of(&json!({ "inviteUrl": link }));
    let bob = person(&app, "bob", None).await;
    app.ask_as(&bob, ACCEPT, json!({ "token": token })).await;

    postbox.is_closed.store(true, Ordering::SeqCst);
    let carol = json!({ "ws": id, "email": "carol@example.com", "role": "VIEWER" });
    let invited = app.ask_as(&ann, INVITE, carol).await;
    let token = token_of(&invited["inviteMember"]);
    let carol = person(&app, "carol", None).await;
    app.ask_as(&carol, ACCEPT, json!({ "token": token })).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_invites_who_may_not_or_above_their_own_role() {
    let app = app().await;
    let id = workspace_of(&app, "ann").await;
    join(&app, &id, "adam", "ADMIN").await;
    join(&app, &id, "mia", "MEMBER").await;
    let code = async |sender, role| {
        let whom = json!({ "ws": id, "email": "new@example.com", "role": role });
        app.refusal_as(sender, INVITE, whom).await["code"].take()
    };
    let adam = person(&app, "adam", Some(&id)).await;
    assert_eq!(code(&adam, "OWNER").await, "FORBIDDEN");
    let mia = person(&app, "mia", Some(&id)).await;
    assert_eq!(code(&mia, "VIEWER").await, "FORBIDDEN");
    let key = program(&id, Role::Admin);
    assert_eq!(code(&key, "OWNER").await, "FORBIDDEN");

    for (email, wanted) in [
        ("no address", "VALIDATION_FAILED"),
        ("a@b\r\nBcc: c@d", "VALIDATION_FAILED"),
        ("MIA@example.com", "CONFLICT"),
    ] {
        let whom = json!({ "ws": id, "email": email, "role": "VIEWER" });
        let refused = app.refusal_as(&adam, INVITE, whom).await;
        assert_eq!(refused["code"], wanted, "{email}");
    }
    let whom = json!({ "ws": id, "email": "new@example.com", "role": "AUDITOR" });
    let invited = app.ask_as(&key, INVITE, whom).await;
    let token = token_of(&invited["inviteMember"]);
    let refused = app
        .refusal_as(&key, ACCEPT, json!({ "token": token }))
        .await;
    assert_eq!(refused["code"], "FORBIDDEN", "a program is nobody's member");
    let refused = app
        .refusal_as(&mia, ACCEPT, json!({ "token": token }))
        .await;
    assert_eq!(
        refused["code"], "CONFLICT",
        "a member's role changes by `setMemberRole`"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_change_and_members_go_but_the_last_owner() {
    let app = app().await;
    let id = workspace_of(&app, "ann").await;
    join(&app, &id, "bob", "MEMBER").await;
    let ann = person(&app, "ann", Some(&id)).await;
    let role = |user: &str, role: &str| json!({ "ws": id, "user": user, "role": role });
    let refused = app.refusal_as(&ann, SET_ROLE, role("ann", "ADMIN")).await;
    assert_eq!(refused["code"], "CONFLICT");
    let refused = app
        .refusal_as(&ann, REMOVE, json!({ "ws": id, "user": "ann" }))
        .await;
    assert_eq!(refused["code"], "CONFLICT");
    for nobody in ["eve", "inv_00000000000000000000000000000007", "a b", ""] {
        let refused = app.refusal_as(&ann, SET_ROLE, role(nobody, "ADMIN")).await;
        assert_eq!(refused["code"], "NOT_FOUND", "{nobody}");
    }

    let mut raise = role("bob", "OWNER");
    raise["command"] = json!("raise");
    for _ in 0..2 {
        let raised = app.ask_as(&ann, SET_ROLE, raise.clone()).await;
        let expected = json!({ "userId": "bob", "role": "OWNER", "status": "ACTIVE" });
        assert_eq!(raised["setMemberRole"], expected);
    }
    let bob = person(&app, "bob", Some(&id)).await;
    let remove = json!({ "ws": id, "user": "ann", "command": "remove" });
    for _ in 0..2 {
        let removed = app.ask_as(&bob, REMOVE, remove.clone()).await;
        let expected = json!({ "userId": "ann", "role": "OWNER", "status": "REMOVED" });
        assert_eq!(removed["removeMember"], expected);
    }
    // The role that the request came with is not believed: the workspace knows better.
    let refused = app.refusal_as(&ann, SET_ROLE, role("bob", "VIEWER")).await;
    assert_eq!(refused["code"], "NOT_FOUND");
    let gone = person(&app, "ann", Some(&id)).await;
    let refused = app.refusal_as(&gone, MEMBERS, json!({})).await;
    assert_eq!(refused["code"], "FORBIDDEN");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_read_on_by_cursor() {
    let app = app().await;
    let id = workspace_of(&app, "ann").await;
    for name in ["bob", "carol"] {
        join(&app, &id, name, "VIEWER").await;
    }
    let ann = person(&app, "ann", Some(&id)).await;
    let mut seen = Vec::new();
    let mut after = Value::Null;
    loop {
        let page = app
            .ask_as(&ann, MEMBERS, json!({ "first": 1, "after": after }))
            .await;
        let page = &page["members"];
        assert_eq!(page["totalCount"], 3);
        seen.push(page["nodes"][0]["userId"].as_str().unwrap().to_owned());
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(seen, ["carol", "bob", "ann"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_is_shown_under_the_address_of_their_account() {
    let app = start(Outside::default()).await;
    let id = workspace_of(&app, "ann").await;
    let ann = person(&app, "ann", Some(&id)).await;
    for (invited, name, vouched, shown) in [
        (
            "ben@example.com",
            "rita",
            Some("rita@example.com"),
            "rita@example.com",
        ),
        ("cleo@example.com", "cleo", None, "cleo@example.com"),
        // What is no address is none that anybody vouches for.
        ("dora@example.com", "dora", Some("dora"), "dora@example.com"),
    ] {
        let invite = json!({ "ws": id, "email": invited, "role": "VIEWER" });
        let link = app.ask_as(&ann, INVITE, invite).await;
        let token = token_of(&link["inviteMember"]);
        let mut newcomer = person(&app, name, None).await;
        newcomer.email = vouched.map(str::to_owned);
        let accept = json!({ "token": token });
        let joined = app.ask_as(&newcomer, ACCEPT, accept).await;
        assert_eq!(joined["acceptInvitation"]["email"], shown);
        let listed = app.ask_as(&ann, MEMBERS, json!({})).await;
        assert_eq!(listed["members"]["nodes"][0], joined["acceptInvitation"]);
    }
    let events = written(&app).await;
    for both in ["ben@example.com", "rita@example.com"] {
        assert!(events.contains(both), "{both}");
    }
    assert_eq!(events.matches("account_email").count(), 1);
    app.stop().await;
}
