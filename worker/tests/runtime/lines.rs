//! What a run writes, and how far it is.

use std::time::Duration;

use serde_json::json;
use toolroom_domain::job::{Line, Progress, Status, seal_context};
use toolroom_eventlog::vault::Opened;
use toolroom_worker::executor::Level;

use crate::support::{PATIENCE, WORKSPACE, World, behaves};

async fn lines(world: &World, job: &toolroom_domain::job::Job) -> Vec<Line> {
    let context = seal_context(job.id().unwrap(), "lines");
    let mut all = Vec::new();
    for lines in job.attempts().iter().flat_map(|attempt| &attempt.lines) {
        let opened = world
            .log
            .vault
            .open(WORKSPACE, &context, &lines.sealed)
            .await;
        let Opened::Value(value) = opened.unwrap() else {
            panic!("the lines were erased")
        };
        let batch: Vec<Line> = serde_json::from_value(value).unwrap();
        assert_eq!(batch.len(), lines.count as usize);
        all.extend(batch);
    }
    all
}

#[tokio::test]
async fn the_lines_of_a_short_run_are_appended_with_its_outcome() {
    let world = World::with(behaves(async |context, _| {
        context.line(Level::Info, "stdout", "one").await;
        context.line(Level::Error, "stderr", "two").await;
        Ok(json!(null))
    }))
    .await;
    let node = world.node("n").await;
    let job = node.run(world.request(), PATIENCE).await.job;
    let events = world.events(job.id().unwrap()).await;
    assert_eq!(
        events,
        ["Requested", "Started", "LinesWritten", "Succeeded"]
    );
    let lines = lines(&world, &job).await;
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line.level.as_str(),
                line.source.as_str(),
                line.message.as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [("info", "stdout", "one"), ("error", "stderr", "two")]
    );
}

#[tokio::test]
async fn the_lines_of_a_long_run_are_there_while_it_runs() {
    let world = World::with(behaves(async |context, _| {
        context.line(Level::Info, "stdout", "begun").await;
        std::future::pending().await
    }))
    .await;
    let _node = world.node("n").await;
    let id = world.submit().await;
    let told = |job: &toolroom_domain::job::Job| {
        job.attempts()
            .last()
            .is_some_and(|attempt| !attempt.lines.is_empty())
    };
    let job = world.until(id, told).await;
    assert_eq!(job.status(), Status::Running);
    assert_eq!(lines(&world, &job).await[0].message, "begun");
}

#[tokio::test]
async fn a_run_that_writes_without_end_is_told_that_not_all_is_kept() {
    let world = World::with(behaves(async |context, _| {
        for n in 0..12_000 {
            context.line(Level::Info, "stdout", n.to_string()).await;
        }
        Ok(json!(null))
    }))
    .await;
    let node = world.node("n").await;
    let job = node.run(world.request(), PATIENCE).await.job;
    let lines = lines(&world, &job).await;
    assert!(lines.len() <= 10_001, "{}", lines.len());
    assert!(lines.last().unwrap().message.contains("left out"));
}

#[tokio::test]
async fn progress_is_live_at_once_and_costs_hardly_an_event() {
    const REPORTS: i32 = 2_000;
    let world = World::with(behaves(async |context, _| {
        for n in 0..REPORTS {
            context.report(Progress {
                step: Some(format!("step {}", n / 100)),
                percentage: Some(f64::from(n) / f64::from(REPORTS) * 100.0),
            });
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(json!(null))
    }))
    .await;
    let node = world.node("n").await;
    let request = world.request();
    let id = request.job;
    let mut watching = node.log.signals.live.watch(id);
    let seeing = async {
        let mut seen = 0;
        let mut last = 0.0;
        while last < 90.0 {
            let report = watching.changed().await;
            last = report.progress.percentage.unwrap();
            seen += 1;
        }
        seen
    };
    let (outcome, seen) = tokio::join!(node.run(request, PATIENCE), seeing);
    assert_eq!(outcome.job.status(), Status::Succeeded);
    assert!(seen > 20, "{seen} reports were seen");
    let events = world.events(id).await;
    let progressed = events.iter().filter(|e| *e == "Progressed").count();
    assert!(
        (1..=3).contains(&progressed),
        "{progressed} events of {REPORTS} reports"
    );
    assert_eq!(
        node.log.signals.live.latest(id),
        None,
        "nothing is kept of what has ended"
    );
}

#[tokio::test]
async fn another_node_hears_how_far_a_run_is() {
    let world = World::with(behaves(async |context, _| {
        context.report(Progress {
            step: Some("private".to_owned()),
            percentage: Some(40.0),
        });
        std::future::pending().await
    }))
    .await;
    let mut watching = None;
    let other = world.node("other").await;
    let node = world.node("n").await;
    let request = world.request();
    let id = request.job;
    watching.replace(other.log.signals.live.watch(id));
    let wait = Duration::from_secs(5);
    let hearing = async {
        let heard = watching.as_mut().unwrap().changed();
        tokio::time::timeout(PATIENCE, heard)
            .await
            .expect("it is heard")
    };
    let (_, heard) = tokio::join!(node.run(request, wait), hearing);
    assert_eq!(heard.progress.percentage, Some(40.0));
    assert_eq!(heard.progress.step, None);
}
