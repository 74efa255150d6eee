//! `toolroom bench auth`: what it costs to know callers, and to hold what they read to their
//! workspace, beside a server in local mode in the same run.

mod callers;
mod fill;
mod policies;
mod rounds;

use std::time::Duration;

use anyhow::bail;
use sqlx::{ConnectOptions as _, PgPool, postgres::PgPoolOptions};
use toolroom_eventlog::{Database, embedded};

use self::{callers::Caller, policies::Policies, rounds::Rounds};
use super::{
    Bench, CLIENTS, SECONDS,
    http::{
        self, behind,
        client::{Client, Target},
        server::{Server, Setup, on_servers},
    },
    load::Rate,
    private::Folder,
    report::{Report, exact, whole},
};
use crate::cli::output;

/// The data folders of the two servers.
const LOCAL: &str = "local";
const CLOSED: &str = "closed";

/// A page of jobs with four fields a row.
const JOBS: &str = "{ jobs(first: 20) { nodes { id status createdAt executionTimeMs } } }";

/// For statements one after the other, and one to spare.
const OWNER_CONNECTIONS: u32 = 2;

/// Times that each is measured: each lasts seconds, so a thousand take a day.
const ROUNDS: std::ops::RangeInclusive<i64> = 1..=1_000;

/// Jobs beyond these show nothing new: a page is a walk along an index.
const COPIES: std::ops::RangeInclusive<i64> = 1..=1_000_000;

#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// How often each caller sends each kind of request, in turns with the others.
    #[arg(long, value_name = "N", default_value_t = Self::default().rounds,
        value_parser = clap::value_parser!(u16).range(ROUNDS))]
    pub rounds: u16,
    /// How long one turn is.
    #[arg(long, value_name = "N", default_value_t = Self::default().seconds,
        value_parser = clap::value_parser!(u64).range(SECONDS))]
    pub seconds: u64,
    /// How many connections send requests, each one after the other.
    #[arg(long, value_name = "N", default_value_t = Self::default().clients,
        value_parser = clap::value_parser!(u16).range(CLIENTS))]
    pub clients: u16,
    /// How many jobs each of two workspaces has beforehand.
    #[arg(long, value_name = "N", default_value_t = Self::default().jobs,
        value_parser = clap::value_parser!(u32).range(COPIES))]
    pub jobs: u32,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            rounds: 9,
            seconds: 3,
            clients: 32,
            jobs: 10_000,
        }
    }
}

impl Arguments {
    fn turn(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Measures, and reports. However it ends, the servers are stopped and their folder removed.
///
/// # Errors
/// When a server does not start, refuses a request, or a connection to it breaks.
pub async fn run(bench: &mut Bench<'_>, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments {
        rounds,
        seconds,
        clients,
        jobs,
    } = arguments;
    bench.report.heading(
        "What credentials and policies cost",
        format_args!(
            "auth --rounds {rounds} --seconds {seconds} --clients {clients} --jobs {jobs}"
        ),
    );
    bench.report.note(
        "Two servers, each with an embedded, durable PostgreSQL of its own and the same data: one in \
         local mode, one that demands credentials. All callers take turns in each round. Figures are \
         medians of the rounds; ratios are medians of what they were within each round, with the \
         lowest and the highest.",
    );
    let folder = Folder::beside(&bench.config.data_dir, 2 * fill::bytes(*jobs))?;
    let issuer = callers::Issuer::try_new()?;
    let local = Setup {
        data: LOCAL,
        settings: Vec::new(),
    };
    let closed = Setup {
        data: CLOSED,
        settings: issuer.settings(&folder)?,
    };
    let measure = async |folder: &Folder, [local, closed]: &[Server; 2], report: &mut Report| {
        let first_key = callers::first_key(folder)?;
        let local = Side::of(folder, LOCAL, Target::open(local.address()?)).await?;
        let address = closed.address()?;
        let operator = Target::with_credential(address, &first_key)?;
        let key = callers::member_key(&operator).await?;
        let closed = Side::of(folder, CLOSED, operator).await?;
        let key = Target::with_credential(address, &key)?;
        let token = Target::with_credential(address, &issuer.token())?;
        let callers = [
            Caller::new(
                "local mode without policies",
                &local,
                local.operator.clone(),
            )
            .without_policies(),
            Caller::new("local mode", &local, local.operator.clone()),
            Caller::new("API key", &closed, key),
            Caller::new("token (HS256)", &closed, token),
        ];
        measure(&local, &closed, &callers, report, arguments).await?;
        local.owner.close().await;
        closed.owner.close().await;
        Ok(())
    };
    on_servers(bench, folder, [local, closed], measure).await
}

/// A server, as whoever runs it has it.
pub struct Side {
    name: &'static str,
    operator: Target,
    owner: PgPool,
    database: Database,
    policies: Policies,
}

impl Side {
    async fn of(folder: &Folder, name: &'static str, operator: Target) -> anyhow::Result<Self> {
        let Some(options) = embedded::attach(&folder.path().join(name)).await? else {
            bail!("the database of the server `{name}` does not run");
        };
        let owner = PgPoolOptions::new()
            .max_connections(OWNER_CONNECTIONS)
            // Filling it takes seconds a statement, which is no news.
            .connect_with(options.clone().disable_statement_logging())
            .await?;
        Ok(Self {
            name,
            operator,
            policies: Policies::of(&owner).await?,
            owner,
            database: Database::connect_lazy(options),
        })
    }

    /// Waits until the read models show all that a load did, lest they take from the next one's
    /// time. No other load of this server has this one's name.
    async fn settle(&self, load: &str) -> anyhow::Result<()> {
        let mut client = Client::connect(&self.operator).await?;
        behind::watch(&mut client, load).await?;
        Ok(())
    }
}

async fn measure(
    local: &Side,
    closed: &Side,
    callers: &[Caller<'_>],
    report: &mut Report,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    for side in [local, closed] {
        output::status(format_args!("auth: filling the server `{}`", side.name));
        fill::fill(side, arguments.jobs).await?;
    }
    policies::measure(local, report, arguments).await?;
    report.note("Over HTTP:");
    report.table(&[
        "request",
        "caller",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "requests/s, of local mode's",
        "p50, of local mode's",
        "requests/s, of those without policies",
    ]);
    // The lists first: what is executed comes into them.
    for (name, query) in [
        ("`tools(first: 20)`, four fields", http::LIST),
        ("`jobs(first: 20)`, four fields", JOBS),
        (
            "`executeTool`, a native tool that does nothing",
            http::EXECUTE,
        ),
    ] {
        let measured = rounds::take_turns(arguments.rounds, callers.len(), async |turn| {
            let caller = &callers[turn.who];
            output::status(format_args!("auth: {name}: {}: {turn}", caller.name));
            let rate = caller.send(query, arguments).await?;
            if query == http::EXECUTE {
                let load = format!("turn-{}-{}", turn.round, turn.who);
                caller.side.settle(&load).await?;
            }
            Ok(rate)
        })
        .await?;
        for (who, caller) in callers.iter().enumerate() {
            report.row(&row(name, caller.name, &measured, who));
        }
    }
    Ok(())
}

fn row(request: &str, caller: &str, measured: &Rounds, who: usize) -> Vec<String> {
    let Rate {
        per_second,
        p50_ms,
        p99_ms,
    } = measured.median(who);
    let (without_policies, local) = (0, 1);
    let rate = |rate: &Rate| rate.per_second;
    vec![
        request.to_owned(),
        caller.to_owned(),
        whole(per_second),
        exact(p50_ms),
        exact(p99_ms),
        measured.ratio(who, local, rate).to_string(),
        measured.ratio(who, local, |rate| rate.p50_ms).to_string(),
        measured.ratio(who, without_policies, rate).to_string(),
    ]
}
