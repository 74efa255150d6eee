//! The load: cheap, since it shares the machine with the server.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::{self, Client, Target};
use crate::cli::bench::load::Rate;

/// Threads that send: one alone would wait for itself on a machine with many cores.
const THREADS: u16 = 2;

/// What came of a load.
pub struct Load {
    /// Of all requests, those refused included.
    pub rate: Rate,
    /// Requests whose answer was not what was asked for.
    pub refused: u64,
    /// Processor time that this process used meanwhile.
    pub cpu: Duration,
}

/// What a connection, or several, saw.
#[derive(Default)]
struct Seen {
    taken: Vec<Duration>,
    refused: u64,
}

impl Seen {
    fn add(&mut self, mut other: Self) {
        self.taken.append(&mut other.taken);
        self.refused += other.refused;
    }
}

/// Sends one request over and over for `time`, over so many connections. Dropped, it stops.
///
/// # Errors
/// When a connection cannot be made, or breaks.
pub async fn drive(
    target: &Target,
    query: &str,
    clients: u16,
    time: Duration,
) -> anyhow::Result<Load> {
    let body = client::body(query, json!({}));
    let stop = CancellationToken::new();
    let _stops_when_dropped = stop.clone().drop_guard();
    let before = cpu(&getrusage(UsageWho::RUSAGE_SELF)?);
    let begun = Instant::now();
    let mut threads = Vec::new();
    for number in 0..THREADS {
        let share = clients / THREADS + u16::from(number < clients % THREADS);
        let (target, body, stop) = (target.clone(), body.clone(), stop.clone());
        let (sender, seen) = oneshot::channel();
        thread::Builder::new()
            .name(format!("load-{number}"))
            .spawn(move || {
                // Nobody waits for it any more when the measurement was stopped.
                let _ = sender.send(on_this_thread(&target, &body, share, begun + time, &stop));
            })?;
        threads.push(seen);
    }
    let mut seen = Seen::default();
    for thread in threads {
        seen.add(thread.await.context("a thread of the load died")??);
    }
    let elapsed = begun.elapsed();
    let after = cpu(&getrusage(UsageWho::RUSAGE_SELF)?);
    Ok(Load {
        rate: Rate::of(seen.taken, elapsed)?,
        refused: seen.refused,
        cpu: after.saturating_sub(before),
    })
}

fn cpu(usage: &Usage) -> Duration {
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

/// A runtime of one thread hands nothing to other threads, and wakes none.
fn on_this_thread(
    target: &Target,
    body: &Bytes,
    clients: u16,
    until: Instant,
    stop: &CancellationToken,
) -> anyhow::Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let work = async {
        let mut loops = JoinSet::new();
        for _ in 0..clients {
            loops.spawn(over_one_connection(target.clone(), body.clone(), until));
        }
        let mut seen = Seen::default();
        while let Some(ended) = loops.join_next().await {
            seen.add(ended.context("a client died")??);
        }
        anyhow::Ok(seen)
    };
    runtime.block_on(async {
        tokio::select! {
            seen = work => seen,
            () = stop.cancelled() => Ok(Seen::default()),
        }
    })
}

async fn over_one_connection(target: Target, body: Bytes, until: Instant) -> anyhow::Result<Seen> {
    let mut client = Client::connect(&target).await?;
    let mut seen = Seen::default();
    loop {
        let sent = Instant::now();
        if sent >= until {
            return Ok(seen);
        }
        let response = client.post(body.clone()).await?;
        seen.taken.push(sent.elapsed());
        seen.refused += u64::from(client::is_refused(&response));
    }
}
