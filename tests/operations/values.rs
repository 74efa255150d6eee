//! Values too large for the log: kept beside it, fetched by reference, carried by backups and exports,
//! proven.

use serde_json::{Value, json};

use crate::{
    api::Api,
    support::{Log, Operator},
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A JSON object of exactly so many bytes.
fn of_bytes(bytes: usize, fill: &str) -> Value {
    let value = json!({ "text": fill.repeat(bytes - r#"{"text":""}"#.len()) });
    assert_eq!(value.to_string().len(), bytes);
    value
}

/// How many large values there are, and their bytes.
async fn blobs(log: &Log) -> (i64, i64) {
    sqlx::query_as("select count(*), coalesce(sum(octet_length(data)), 0)::bigint from blobs")
        .fetch_one(log.log.database.committer_pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn the_first_byte_above_64_kib_puts_a_value_beside_the_log() {
    let operator = Operator::new();
    let server = operator.serve().await;
    let (api, log) = (Api::of(&server), operator.log().await);
    api.register_echo("echo").await;

    let within = api.run("echo", &of_bytes(64 * KIB, "a")).await;
    assert_eq!(within["status"], "COMPLETED", "{within}");
    assert_eq!(within["inputRef"]["bytes"], 64 * KIB);
    assert_eq!(within["inputRef"]["digest"], Value::Null);
    assert_eq!(blobs(&log).await, (0, 0));

    let beyond = of_bytes(64 * KIB + 1, "a");
    let ran = api.run("echo", &beyond).await;
    assert_eq!(ran["outputRef"]["bytes"], 64 * KIB + 1);
    // What comes back is what went in: one row, for both and for every run.
    assert_eq!(ran["inputRef"]["digest"], ran["outputRef"]["digest"]);
    api.run("echo", &beyond).await;
    assert_eq!(blobs(&log).await.0, 1);
    let (longest,): (i32,) = sqlx::query_as(
        "select max(octet_length(payload::text)) from events where event_type = 'JobRequested'",
    )
    .fetch_one(log.log.database.committer_pool())
    .await
    .unwrap();
    assert!(longest < 90 * KIB as i32, "{longest}");

    // Another workspace with the same value shares nothing, not even its name.
    let elsewhere = api.within(&api.create_workspace("elsewhere").await);
    elsewhere.register_echo("echo").await;
    let theirs = elsewhere.run("echo", &beyond).await;
    assert_ne!(theirs["inputRef"]["digest"], ran["inputRef"]["digest"]);
    assert_eq!(blobs(&log).await.0, 2);
    log.close().await;
    server.stop().await;
}

#[tokio::test]
async fn sixteen_mebibytes_go_in_and_come_back() {
    let operator = Operator::new();
    let server = operator.serve().await;
    let api = Api::of(&server);
    api.register_echo("echo").await;
    let input = of_bytes(16 * MIB, "m");
    let ran = api.run("echo", &input).await;
    assert_eq!(ran["status"], "COMPLETED", "{ran}");

    let job = json!({ "id": ran["id"] });
    let told = api
        .data("query($id: ID!) { job(id: $id) { output } }", job.clone())
        .await;
    assert!(told["job"]["output"] == input, "the output is another");

    let url = ran["outputRef"]["url"].as_str().unwrap();
    let whole = api.get(url, &[]).await;
    assert_eq!(whole.status, 200);
    assert_eq!(whole.header("content-type"), "application/json");
    assert!(whole.json() == input, "what was fetched is another");
    let etag = whole.header("etag").to_owned();
    assert_eq!(
        etag,
        format!("\"{}\"", ran["outputRef"]["digest"].as_str().unwrap())
    );
    let again = api.get(url, &[("if-none-match", &etag)]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let part = api
        .get(url, &[("range", "bytes=2-8"), ("if-range", &etag)])
        .await;
    assert_eq!(part.status, 206);
    assert_eq!(part.body, whole.body[2..9]);
    let length = whole.body.len();
    assert_eq!(part.header("content-range"), format!("bytes 2-8/{length}"));
    let beyond = api.get(url, &[("range", "bytes=99999999-")]).await;
    assert_eq!(beyond.status, 416);

    // Over REST as well, which wraps it once more.
    let used = json!({ "tool_call": { "name": "echo", "parameters": input } });
    let used = api.post("/tool_usage", &used).await.json();
    assert!(used["result"] == input, "{}", used["error"]);

    let too_large = of_bytes(16 * MIB + 1, "a");
    let run = "mutation($i: JSON!) { executeTool(toolName: \"echo\", input: $i) { id } }";
    let (code, message) = api.refused(run, json!({ "i": too_large })).await;
    assert_eq!(code, "PAYLOAD_TOO_LARGE", "{message}");
    assert!(message.contains("16777216"), "{message}");
    let submit = "mutation($i: JSON!) { submitJob(toolName: \"echo\", input: $i) { id } }";
    let (code, message) = api.refused(submit, json!({ "i": too_large })).await;
    assert_eq!(code, "PAYLOAD_TOO_LARGE", "{message}");
    server.stop().await;
}

#[tokio::test]
async fn a_list_reads_large_values_together_and_only_when_they_are_asked_for() {
    let operator = Operator::new();
    let server = operator.serve().await;
    let api = Api::of(&server);
    api.register_echo("echo").await;
    let inputs: Vec<_> = ["a", "b", "c"].map(|fill| of_bytes(100 * KIB, fill)).into();
    for input in &inputs {
        api.run("echo", input).await;
    }
    let listed = "{ jobs(first: 10) { nodes { input output inputRef { bytes } } } }";
    let listed = api.data(listed, json!({})).await;
    for (job, input) in listed["jobs"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .zip(inputs.iter().rev())
    {
        assert!(job["input"] == *input && job["output"] == *input);
    }
    // Three of the largest are more than an answer holds; their addresses are not.
    for fill in ["d", "e", "f"] {
        api.run("echo", &of_bytes(15 * MIB, fill)).await;
    }
    let (code, message) = api
        .refused("{ jobs(first: 3) { nodes { id input } } }", json!({}))
        .await;
    assert_eq!(code, "PAYLOAD_TOO_LARGE", "{message}");
    assert!(message.contains("inputRef"), "{message}");
    let addresses = "{ jobs(first: 3) { nodes { inputRef { url bytes digest } } } }";
    let addresses = api.data(addresses, json!({})).await;
    assert_eq!(addresses["jobs"]["nodes"][2]["inputRef"]["bytes"], 15 * MIB);
    server.stop().await;
}

#[tokio::test]
async fn large_values_are_backed_up_exported_and_proven() {
    let operator = Operator::new();
    let server = operator.serve().await;
    let api = Api::of(&server);
    api.register_echo("echo").await;
    let input = of_bytes(300 * KIB, "x");
    let job = api.run("echo", &input).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let proven = operator.run(&["verify"]).await.succeeds();
    assert!(
        proven.out().contains("1 large values, 307200 bytes"),
        "{proven:?}"
    );
    operator.run(&["backup", "all"]).await.succeeds();
    operator
        .run(&["export", "-o", "log.jsonl"])
        .await
        .succeeds();
    server.stop().await;

    let checked = operator.run(&["verify", "log.jsonl"]).await.succeeds();
    assert!(checked.out().contains("1 large values"), "{checked:?}");
    let text = std::fs::read_to_string(operator.path("log.jsonl")).unwrap();
    let without: String = text
        .lines()
        .filter(|line| !line.starts_with("{\"blob\""))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(without.len() < text.len());
    std::fs::write(operator.path("less.jsonl"), without).unwrap();
    let less = operator.run(&["verify", "less.jsonl"]).await;
    assert!(
        less.code() == 1 && less.words().contains("large value"),
        "{less:?}"
    );

    let there = Operator::new();
    std::fs::copy(operator.path("all"), there.path("all")).unwrap();
    there.run(&["restore", "all"]).await.succeeds();
    std::fs::copy(
        operator.path("toolroom-data/master.key"),
        there.path("toolroom-data/master.key"),
    )
    .unwrap();
    let proven = there.run(&["verify"]).await.succeeds();
    assert!(proven.out().contains("1 large values"), "{proven:?}");
    let server = there.serve().await;
    let fetched = Api::of(&server)
        .get(&format!("/api/v1/jobs/{job}/output"), &[])
        .await;
    assert!(fetched.json() == input);

    // What is changed or taken away beside the log shows.
    let log = there.log().await;
    let owner = sqlx::PgPool::connect_with(log.log.database.owner_options().clone())
        .await
        .unwrap();
    let change = "update blobs set data = set_byte(data, 100, 255 - get_byte(data, 100))";
    for (change, told) in [
        (change, "is not what was written"),
        ("delete from blobs", "is missing"),
    ] {
        sqlx::query(change).execute(&owner).await.unwrap();
        let found = there.run(&["verify"]).await;
        assert!(
            found.code() == 1 && found.words().contains(told),
            "{found:?}"
        );
    }
    owner.close().await;
    log.close().await;
    server.stop().await;
}
