//! Row-level security, switched off and on again.

use anyhow::bail;
use sqlx::PgPool;
use toolroom_domain::WorkspaceId;
use toolroom_eventlog::Reads;
use toolroom_projections::{
    PageRequest,
    catalog::{self, ListTools, ToolFilter},
    jobs::{self, JobFilter, ListJobs},
};

use super::{Arguments, Side, rounds};
use crate::cli::{
    bench::{
        load::{Rate, rate},
        log::WORKSPACE,
        report::{Report, exact},
    },
    output,
};

/// Rows of a page.
const ROWS: i64 = 20;

/// The tables of a database that have policies.
pub struct Policies {
    owner: PgPool,
    tables: Vec<String>,
}

impl Policies {
    /// Looks them up.
    ///
    /// # Errors
    /// When the database does not answer, or has none.
    pub async fn of(owner: &PgPool) -> anyhow::Result<Self> {
        let tables: Vec<String> = sqlx::query_scalar(
            "select oid::regclass::text from pg_class where relrowsecurity order by oid",
        )
        .fetch_all(owner)
        .await?;
        if tables.is_empty() {
            bail!("no table has policies, so there is nothing to compare");
        }
        Ok(Self {
            owner: owner.clone(),
            tables,
        })
    }

    /// Switches them on or off, whatever they were: statements are planned anew either way, so it
    /// costs what follows the same.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn set(&self, on: bool) -> anyhow::Result<()> {
        let action = if on { "enable" } else { "disable" };
        for table in &self.tables {
            // A transaction each: whoever holds two locks may wait for who holds them the other
            // way round.
            let statement = format!("alter table {table} {action} row level security");
            sqlx::raw_sql(&statement).execute(&self.owner).await?;
        }
        Ok(())
    }
}

/// The lists as requests send them.
#[derive(Clone, Copy)]
enum List {
    Tools,
    Jobs,
}

impl List {
    fn name(self) -> &'static str {
        match self {
            Self::Tools => "a page of tools",
            Self::Jobs => "a page of jobs",
        }
    }

    /// How many rows it gave.
    async fn rows(self, reads: &Reads, workspace: WorkspaceId) -> Result<usize, sqlx::Error> {
        match self {
            Self::Tools => {
                let list = ListTools {
                    filter: ToolFilter::default(),
                    page: PageRequest::first(ROWS),
                };
                let page = catalog::query::list(reads, workspace, &list).await?;
                Ok(page.rows.len())
            }
            Self::Jobs => {
                let list = ListJobs {
                    filter: JobFilter::default(),
                    page: PageRequest::first(ROWS),
                };
                let page = jobs::query::list(reads, workspace, &list).await?;
                Ok(page.rows.len())
            }
        }
    }
}

/// Measures the lists' statements with and without policies.
///
/// # Errors
/// When the database does not answer, or a list is empty.
pub async fn measure(
    side: &Side,
    report: &mut Report,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    report.note(
        "The lists' own statements, as the role that requests are read with, one after the other over \
         one connection: with the tables' policies, and with these switched off, in turns.",
    );
    report.table(&[
        "statement",
        "with policies, p50 ms",
        "without, p50 ms",
        "p50, of that without",
    ]);
    for list in [List::Tools, List::Jobs] {
        let measured = rounds::take_turns(arguments.rounds, 2, async |turn| {
            output::status(format_args!("auth: {}: {turn}", list.name()));
            side.policies.set(turn.who == 1).await?;
            send(side.database.reads(), list, arguments).await
        })
        .await?;
        let (off, on) = (0, 1);
        report.row(&[
            list.name().to_owned(),
            exact(measured.median(on).p50_ms),
            exact(measured.median(off).p50_ms),
            measured.ratio(on, off, |rate| rate.p50_ms).to_string(),
        ]);
    }
    Ok(())
}

async fn send(reads: &Reads, list: List, arguments: &Arguments) -> anyhow::Result<Rate> {
    let reads = reads.clone();
    rate(1, arguments.turn(), move || {
        let reads = reads.clone();
        async move {
            let rows = list.rows(&reads, WORKSPACE).await?;
            if rows == 0 {
                bail!("the list is empty, so its speed means nothing");
            }
            Ok(())
        }
    })
    .await
}
