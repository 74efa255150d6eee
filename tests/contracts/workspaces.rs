//! Workspaces, members and invitations over REST, and the letters that invitations are.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, Mailbox, people::Caller};

const ALL: &str = "/api/v1/workspaces";
const ACCEPT: &str = "/api/v1/invitations/accept";

async fn make(caller: &Caller, name: &str) -> Value {
    let answer = caller
        .send(Method::POST, ALL, Some(&json!({ "name": name })))
        .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body
}

fn id(shown: &Value) -> &str {
    shown["id"].as_str().expect("an id")
}

fn paths(answer: &Answer) -> Vec<&str> {
    let details = answer.body["details"].as_array().expect("details");
    details
        .iter()
        .map(|detail| detail["path"].as_str().unwrap())
        .collect()
}

fn token(link: &str) -> &str {
    link.split_once("/invitations/accept?token=")
        .expect("a link")
        .1
}

/// The same with what differs each time replaced by its kind.
fn shape(mut shown: Value, masked: &[&str]) -> Value {
    for field in masked {
        assert!(shown[field].is_string(), "{field}: {shown}");
        shown[field] = json!(format!("<{field}>"));
    }
    shown
}

#[tokio::test]
async fn a_workspace_is_made_read_changed_and_ended() {
    let app = App::start_closed().await;
    let ann = app.user("ann");
    let made = make(&ann, "tools").await;
    assert_eq!(
        shape(made.clone(), &["id", "created_at"]),
        json!({
            "id": "<id>", "name": "tools", "plan": "FREE", "time_zone": "UTC",
            "quota": {
                "hourly_limit": made["quota"]["hourly_limit"], "hourly_used": 0,
                "daily_limit": made["quota"]["daily_limit"], "daily_used": 0,
            },
            "created_at": "<created_at>",
        })
    );
    // Their first workspace is selected without being named.
    let one = format!("{ALL}/{}", id(&made));
    let read = ann.send(Method::GET, &one, None).await;
    assert_eq!((read.status, &read.body), (200, &made));
    let listed = ann.send(Method::GET, ALL, None).await;
    assert_eq!((listed.status, &listed.body), (200, &json!([made])));
    assert_eq!(listed.headers["x-total-count"], "1");

    let change = json!({ "time_zone": "Europe/Berlin" });
    let changed = ann.send(Method::PATCH, &one, Some(&change)).await;
    let mut expected = made.clone();
    expected["time_zone"] = json!("Europe/Berlin");
    assert_eq!((changed.status, changed.body), (200, expected));
    let wrong = json!({ "name": "", "time_zone": "Mars/Olympus" });
    let refused = ann.send(Method::PATCH, &one, Some(&wrong)).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert_eq!(paths(&refused), ["name", "time_zone"]);
    let wrong = json!({ "nam": "x", "time_zone": 1 });
    let refused = ann.send(Method::PATCH, &one, Some(&wrong)).await;
    assert_eq!(paths(&refused), ["time_zone", "nam"]);

    let ended = ann.send(Method::DELETE, &one, None).await;
    assert_eq!((ended.status, &ended.body["id"]), (200, &made["id"]));
    let listed = ann.send(Method::GET, ALL, None).await;
    assert_eq!((listed.status, listed.body), (200, json!([])));
    let gone = app
        .user_in("ann", id(&made))
        .send(Method::GET, &one, None)
        .await;
    assert_eq!(gone.status, 404, "{}", gone.body);
}

#[tokio::test]
async fn another_workspace_is_as_if_there_were_none() {
    let app = App::start_closed().await;
    let (ann, bob) = (app.user("ann"), app.user("bob"));
    make(&ann, "hers").await;
    let his = make(&bob, "his").await;
    let body = json!({ "name": "x" });
    let invite = json!({ "email": "a@b", "role": "VIEWER" });
    let role = json!({ "role": "VIEWER" });
    let mut told = Vec::new();
    for other in [id(&his), "ws_0123456789abcdef0123456789abcdef", "x"] {
        let one = format!("{ALL}/{other}");
        let (members, member) = (format!("{one}/members"), format!("{one}/members/bob"));
        for (method, path, body) in [
            (Method::GET, &one, None),
            (Method::PATCH, &one, Some(&body)),
            (Method::DELETE, &one, None),
            (Method::GET, &members, None),
            (Method::POST, &members, Some(&invite)),
            (Method::PATCH, &member, Some(&role)),
            (Method::DELETE, &member, None),
        ] {
            let answer = ann.send(method.clone(), path, body).await;
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.body);
            told.push(answer.body["error"].clone());
        }
        let selected = app.user_in("ann", other).send(Method::GET, ALL, None).await;
        assert_eq!(selected.status, 404, "{other}");
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test]
async fn somebody_is_invited_by_a_link_joins_is_raised_and_goes() {
    let app = App::start_closed().await;
    let ann = app.user("ann");
    let made = make(&ann, "tools").await;
    let members = format!("{ALL}/{}/members", id(&made));
    let whom = json!({ "email": "bob@example.com", "role": "MEMBER" });
    let invited = ann.send(Method::POST, &members, Some(&whom)).await;
    assert_eq!(invited.status, 201, "{}", invited.body);
    assert_eq!(
        shape(invited.body.clone(), &["user_id", "invite_url"]),
        json!({ "user_id": "<user_id>", "email": "bob@example.com", "role": "MEMBER",
                "status": "INVITED", "invite_url": "<invite_url>" })
    );
    let link = invited.body["invite_url"].as_str().unwrap();
    assert!(link.starts_with(&app.url), "{link}");

    // Whoever follows the link is told how to accept, and nothing has happened.
    let page = reqwest::get(link).await.unwrap();
    assert_eq!(page.status(), 200);
    assert_eq!(page.headers()["cache-control"], "no-store");
    assert_eq!(page.headers()["referrer-policy"], "no-referrer");
    let text = page.text().await.unwrap();
    assert!(text.contains(ACCEPT) && !text.contains(token(link)));
    let bob = app.user("bob");
    let before = bob.send(Method::GET, ALL, None).await;
    assert_eq!(before.body, json!([]));

    let show = json!({ "token": token(link) });
    let nobody = app
        .shown(None)
        .send(Method::POST, ACCEPT, Some(&show))
        .await;
    assert_eq!(nobody.status, 401);
    let joined = bob.send(Method::POST, ACCEPT, Some(&show)).await;
    let expected = json!({ "user_id": "bob", "email": "bob@example.com", "role": "MEMBER",
                           "status": "ACTIVE", "invite_url": null });
    assert_eq!((joined.status, &joined.body), (200, &expected));
    let eve = app
        .user("eve")
        .send(Method::POST, ACCEPT, Some(&show))
        .await;
    assert_eq!(eve.status, 409, "{}", eve.body);
    // Their first workspace is theirs at once.
    let listed = bob.send(Method::GET, &members, None).await;
    assert_eq!(listed.status, 200, "{}", listed.body);
    assert_eq!(listed.body[0], expected);
    assert_eq!(listed.body[1]["user_id"], "ann");

    let his = format!("{members}/bob");
    let refused = bob
        .send(Method::PATCH, &his, Some(&json!({ "role": "OWNER" })))
        .await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    let refused = ann
        .send(Method::PATCH, &his, Some(&json!({ "role": "BOSS" })))
        .await;
    assert_eq!((refused.status, paths(&refused)), (400, vec!["role"]));
    let raised = ann
        .send(Method::PATCH, &his, Some(&json!({ "role": "ADMIN" })))
        .await;
    assert_eq!(
        (raised.status, &raised.body["role"]),
        (200, &json!("ADMIN"))
    );
    let removed = ann.send(Method::DELETE, &his, None).await;
    assert_eq!(
        (removed.status, &removed.body["status"]),
        (200, &json!("REMOVED"))
    );
    let last = ann
        .send(Method::DELETE, &format!("{members}/ann"), None)
        .await;
    assert_eq!(last.status, 409, "{}", last.body);
}

#[tokio::test]
async fn an_idempotency_key_makes_one_workspace_and_one_invitation() {
    let app = App::start_closed().await;
    let ann = app.user("ann");
    let post = async |path: &str, body: &Value| {
        let request = ann.http.post(format!("{}{path}", app.url)).json(body);
        Answer::of(request.header("Idempotency-Key", "once")).await
    };
    let name = json!({ "name": "tools" });
    let first = post(ALL, &name).await;
    let again = post(ALL, &name).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(post(ALL, &json!({ "name": "x" })).await.status, 409);

    let members = format!("{ALL}/{}/members", id(&first.body));
    let whom = json!({ "email": "bob@example.com", "role": "MEMBER" });
    let invite = async || {
        let request = ann.http.post(format!("{}{members}", app.url)).json(&whom);
        Answer::of(request.header("Idempotency-Key", "twice")).await
    };
    let (first, again) = (invite().await, invite().await);
    assert_eq!(first.body["user_id"], again.body["user_id"]);
    assert!(first.body["invite_url"].is_string());
    assert!(again.body["invite_url"].is_null());
}

#[tokio::test]
async fn an_invitation_goes_by_mail_where_a_mail_server_takes_it() {
    let mailbox = Mailbox::open().await;
    let app = App::start_closed_with(&[
        ("TOOLROOM_SMTP_URL", &mailbox.url),
        ("TOOLROOM_SMTP_FROM", "Toolroom <toolroom@example.com>"),
    ])
    .await;
    let ann = app.user("ann");
    let made = make(&ann, "Ärzte & Co.").await;
    let members = format!("{ALL}/{}/members", id(&made));
    let whom = json!({ "email": "bob@example.com", "role": "MEMBER" });
    let invited = ann.send(Method::POST, &members, Some(&whom)).await;
    assert_eq!(invited.status, 201, "{}", invited.body);
    assert!(invited.body["invite_url"].is_null());
    let letters = mailbox.letters();
    let [letter] = letters.as_slice() else {
        panic!("{letters:?}");
    };
    assert!(letter.contains("To: bob@example.com"), "{letter}");
    // As mail programs do with quoted-printable.
    let text = letter.replace("=\n", "").replace("=3D", "=");
    let link = text
        .lines()
        .find(|line| line.starts_with("http"))
        .expect("a link");
    let show = json!({ "token": token(link.trim()) });
    let joined = app
        .user("bob")
        .send(Method::POST, ACCEPT, Some(&show))
        .await;
    assert_eq!(joined.status, 200, "{}", joined.body);
    assert!(!app.output().contains(token(link.trim())));
}

#[tokio::test]
async fn a_link_that_the_mail_server_refuses_is_in_the_answer_and_not_in_the_log() {
    let mailbox = Mailbox::closed().await;
    let app = App::start_closed_with(&[
        ("TOOLROOM_SMTP_URL", &mailbox.url),
        ("TOOLROOM_SMTP_FROM", "toolroom@example.com"),
    ])
    .await;
    let ann = app.user("ann");
    let made = make(&ann, "tools").await;
    let members = format!("{ALL}/{}/members", id(&made));
    let whom = json!({ "email": "bob@example.com", "role": "MEMBER" });
    let invited = ann.send(Method::POST, &members, Some(&whom)).await;
    let link = invited.body["invite_url"].as_str().expect("the link");
    app.said("could not be mailed").await;
    assert!(!app.output().contains(token(link)));
    let show = json!({ "token": token(link) });
    let joined = app
        .user("bob")
        .send(Method::POST, ACCEPT, Some(&show))
        .await;
    assert_eq!(joined.status, 200, "{}", joined.body);
}
