//! `toolroom keys rotate-master`: begins a rotation of the master key, and watches it.

use std::time::Duration;

use anyhow::bail;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cli::{client::Client, output};

/// How often the server is asked how far it is.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// A rotation as the server tells of it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyRotation {
    total: i64,
    done: i64,
    started_at: Timestamp,
    finished_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    key_rotation: Option<KeyRotation>,
}

const ROTATE: &str = "mutation RotateMasterKey {
  rotateMasterKey { total done startedAt finishedAt }
}";

const LOOK: &str = "query KeyRotation {
  health { keyRotation { total done startedAt finishedAt } }
}";

/// Returns when everything is wrapped by the new key.
pub(super) async fn run(client: &Client, as_json: bool) -> anyhow::Result<()> {
    let mut rotation: KeyRotation = client.ask(ROTATE, json!({})).await?;
    let mut told = None;
    while rotation.finished_at.is_none() {
        if told != Some(rotation.done) {
            output::say(format_args!(
                "{} of {} wrapped",
                rotation.done, rotation.total
            ));
            told = Some(rotation.done);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
        let health: Health = client.ask(LOOK, json!({})).await?;
        match health.key_rotation {
            Some(now) => rotation = now,
            None => bail!("the server tells of no rotation any more; ask `toolroom doctor`"),
        }
    }
    if as_json {
        return Ok(output::json(&rotation)?);
    }
    output::say(format_args!(
        "the master key was rotated: {} keys and secrets are wrapped by the new one, and the old one opens nothing but backups from before",
        rotation.total
    ));
    Ok(())
}
