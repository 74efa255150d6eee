//! What is told of secrets and their uses.

use toolroom_domain::{
    JobId, SecretId,
    job::{self, SecretUse, Told},
    secret::{Command, Secret},
};
use toolroom_eventlog::{CommandContext, command::Target, ids};
use toolroom_projections::{PageRequest, secrets};

use crate::support::{App, WORKSPACE, at};

impl App {
    async fn secret(&self, name: &str, command: Command) {
        let correlation = ids::new_uuid().to_string();
        let context = CommandContext::system(WORKSPACE, "test", correlation);
        let target = Target::<Secret>::Existing(SecretId::of(WORKSPACE, name).to_string());
        self.log
            .bus
            .execute(target, command, &context)
            .await
            .unwrap();
    }

    async fn create_secret(&self, name: &str, version: u32, second: i64) {
        let command = Command::Create {
            workspace: WORKSPACE,
            name: name.to_owned(),
            version,
            at: at(second),
        };
        self.secret(name, command).await;
    }

    async fn run_telling(&self, told: Told, second: i64) -> JobId {
        let tool = self.register(&format!("tool{second}")).await;
        let job = self.request(tool).await;
        self.start_job(job).await;
        let tell = job::Command::Tell {
            attempt: 1,
            told,
            at: at(second),
        };
        assert!(self.job(job, tell).await);
        job
    }

    async fn named(&self, name: &str) -> Option<secrets::SecretRow> {
        secrets::query::find(self.reads(), WORKSPACE, name)
            .await
            .unwrap()
    }
}

fn told(names: &[(&str, u32)]) -> Told {
    let uses = names.iter().map(|(name, version)| SecretUse {
        name: (*name).to_owned(),
        version: *version,
    });
    Told {
        secrets: uses.collect(),
        ..Told::default()
    }
}

#[tokio::test]
async fn secrets_are_listed_by_name_as_their_last_change_left_them() {
    let app = App::start().await;
    for (name, second) in [("b", 1), ("B", 2), ("A", 3)] {
        app.create_secret(name, 1, second).await;
    }
    let replace = Command::Replace {
        version: 2,
        at: at(9),
    };
    app.secret("B", replace).await;
    app.settled().await;
    let list = async |first, after: Option<&str>| {
        let page = PageRequest {
            first,
            after: after.map(str::to_owned),
            with_total: true,
        };
        secrets::query::list(app.reads(), WORKSPACE, &page)
            .await
            .unwrap()
    };
    let page = list(2, None).await;
    let names: Vec<_> = page.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(
        (names, page.total_count, page.has_next),
        (vec!["A", "B"], Some(3), true)
    );
    let page = list(2, Some("B")).await;
    assert_eq!(page.rows[0].name, "b");
    let row = app.named("B").await.unwrap();
    assert_eq!(
        (row.version, row.created_at, row.updated_at),
        (2, at(2), at(9))
    );
    assert_eq!(row.last_used_at, None);

    app.secret("B", Command::Delete { at: at(10) }).await;
    app.settled().await;
    assert_eq!(app.named("B").await, None);
    assert_eq!(
        secrets::query::number(app.reads(), WORKSPACE)
            .await
            .unwrap(),
        2
    );
    app.create_secret("B", 3, 11).await;
    app.settled().await;
    let row = app.named("B").await.unwrap();
    assert_eq!((row.version, row.created_at), (3, at(11)));
    app.stop().await;
}

#[tokio::test]
async fn each_use_of_a_name_is_found_newest_first() {
    let app = App::start().await;
    app.create_secret("A", 1, 1).await;
    let first = app
        .run_telling(told(&[("A", 1), ("A", 2), ("OTHER", 0)]), 2)
        .await;
    let second = app.run_telling(told(&[("A", 2)]), 3).await;
    app.run_telling(told(&[("B", 1)]), 4).await;
    app.settled().await;
    let usages = async |name, first, after| {
        let page = PageRequest {
            first,
            after,
            with_total: true,
        };
        secrets::query::usages(app.reads(), WORKSPACE, name, &page)
            .await
            .unwrap()
    };
    let page = usages("A", 1, None).await;
    assert_eq!((page.total_count, page.has_next), (Some(2), true));
    assert_eq!(page.rows[0].event.aggregate_id, second.to_string());
    assert_eq!(page.rows[0].event.event_type, "JobSecretsUsed");
    let page = usages("A", 5, Some(page.rows[0].event.position)).await;
    assert_eq!(page.rows.len(), 1);
    assert_eq!(page.rows[0].event.aggregate_id, first.to_string());
    // What the environment holds is no secret of the workspace, but its uses are told as well.
    assert_eq!(usages("OTHER", 5, None).await.rows.len(), 1);
    assert_eq!(app.named("A").await.unwrap().last_used_at, Some(at(3)));
    app.stop().await;
}
