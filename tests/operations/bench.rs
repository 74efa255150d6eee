//! Measuring a machine with the binary that shall run on it.

use nix::sys::signal::{Signal, kill};

use crate::support::{Operator, postgres};

/// The cells of the table's row that begins with a text; numbers without what sets thousands apart.
fn row(markdown: &str, first: &str) -> Vec<String> {
    let line = markdown
        .lines()
        .find(|line| line.starts_with(&format!("| {first}")))
        .unwrap_or_else(|| panic!("no row begins with {first}: {markdown}"));
    let cells = line.trim_matches('|').split(" | ");
    cells.map(|cell| cell.trim().replace(',', "")).collect()
}

fn number(cell: &str) -> f64 {
    cell.parse()
        .unwrap_or_else(|_| panic!("{cell} is no number"))
}

fn is_empty(operator: &Operator) -> bool {
    let folder = std::fs::read_dir(operator.path(".")).expect("can be read");
    folder.count() == 0
}

#[tokio::test]
async fn a_machine_is_measured_and_left_as_it_was() {
    let operator = Operator::new();
    let bench = async |which| {
        let arguments = ["bench", which, "--seconds", "1", "--clients", "2"];
        operator.run(&arguments).await.succeeds()
    };
    let appended = bench("append").await;
    // Clients, ours, its p50 and p99, pgbench, stock postgres-es.
    let cells = row(&appended.out(), "2 ");
    for rate in [&cells[1], &cells[5]] {
        assert!(number(rate) > 0.0, "{appended:?}");
    }
    assert!(
        cells[4] == "no pgbench" || number(&cells[4]) > 0.0,
        "{appended:?}"
    );
    assert!(appended.out().contains("cores ("), "{appended:?}");
    assert!(is_empty(&operator));

    // What the operator has set for servers is none of the benchmark's.
    let elsewhere =
        "database_url = \"postgres://nobody@203.0.113.1/none\"\n[worker]\nforeground = 1\n";
    let settings = operator.path("toolroom.toml");
    std::fs::write(&settings, elsewhere).unwrap();
    let asked = bench("http").await;
    assert!(asked.words().contains("left alone"), "{asked:?}");
    for request in ["`executeTool`", "`tools(first: 20)`"] {
        // Request, clients, rate, p50, p99, refused.
        let cells = row(&asked.out(), request);
        assert!(number(&cells[2]) > 0.0, "{asked:?}");
        assert_eq!(cells[5], "0", "{asked:?}");
    }
    for follower in ["sequencer", "catalog", "jobs", "audit", "stats", "queue"] {
        number(&row(&asked.out(), follower)[1]);
    }
    std::fs::remove_file(&settings).unwrap();
    assert!(is_empty(&operator));
}

#[tokio::test]
async fn credentials_and_policies_are_measured_beside_local_mode() {
    let operator = Operator::new();
    let few = "bench auth --rounds 1 --seconds 1 --clients 2 --jobs 50";
    let arguments: Vec<_> = few.split(' ').collect();
    let measured = operator.run(&arguments).await.succeeds();
    let out = measured.out();
    for statement in ["a page of tools", "a page of jobs"] {
        // Statement, with policies, without, their ratio.
        let cells = row(&out, statement);
        assert!(cells[1..3].iter().all(|cell| number(cell) > 0.0), "{out}");
    }
    for request in ["`tools(first: 20)`", "`jobs(first: 20)`", "`executeTool`"] {
        let rows: Vec<_> = out
            .lines()
            .filter(|line| line.starts_with(&format!("| {request}")))
            .collect();
        for (line, caller) in rows.iter().zip([
            "local mode without policies",
            "local mode",
            "API key",
            "token (HS256)",
        ]) {
            // Request, caller, rate, p50, p99, three ratios with their lowest and highest.
            let cells = row(line, request);
            assert_eq!(cells[1], caller, "{out}");
            assert!(number(&cells[2]) > 0.0, "{out}");
            let ratio = cells[5].split(' ').next().expect("is there");
            assert!(number(ratio) > 0.0, "{out}");
        }
        assert_eq!(rows.len(), 4, "{out}");
    }
    assert!(is_empty(&operator));
}

#[tokio::test]
async fn a_benchmark_that_is_interrupted_leaves_nothing() {
    let operator = Operator::new();
    for (benchmark, data) in [("append", "data"), ("http", "data"), ("auth", "closed")] {
        let measuring = operator.bench(&[benchmark, "--seconds", "600"]).await;
        let folder = std::fs::read_dir(operator.path(".")).expect("can be read");
        let folder = folder.map(|entry| entry.expect("can be read").path());
        let data = folder.last().expect("it has a folder").join(data);
        let database = postgres(&data);
        measuring.signal(Signal::SIGINT);
        let (code, words) = measuring.ended().await;
        assert_eq!(code, Some(1), "{words:#?}");
        assert!(
            words.iter().any(|line| line.contains("stopped by SIGINT")),
            "{words:#?}"
        );
        assert!(kill(database, None).is_err(), "its server still runs");
        assert!(is_empty(&operator));
    }
}
