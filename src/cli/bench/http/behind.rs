//! How far the followers of the log are behind when a load ends.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::{client::Client, register};

/// Between looks at the followers.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// For how long a follower may stay behind before it is taken to be stuck.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where all stand. The log itself is behind what was appended, too.
const STANDING: &str = "{ projections { name position head lastError } }";

/// A follower, as the load left it.
pub struct Behind {
    /// Its name; `sequencer` is what gives events their places, before all others see them.
    pub name: String,
    /// How many of the load's events it had still to see.
    pub events: i64,
    /// How long it took until it had seen them all.
    pub level_after: Duration,
}

struct Standing {
    name: String,
    position: i64,
    head: i64,
    last_error: Value,
}

/// Looks at once, and goes on until each follower has seen all that was appended before. `load` is
/// that load's name, which no other of this server's has.
///
/// # Errors
/// When the server does not answer, or a follower is stuck.
pub async fn watch(client: &mut Client, load: &str) -> anyhow::Result<Vec<Behind>> {
    let ended = Instant::now();
    let first = standing(client).await?;
    // An event of our own comes after all of the load's, and its place tells where those end.
    let last = end(client, load, ended).await? - 1;
    let ordered_after = ended.elapsed();
    let ordered = first.iter().map(|follower| follower.head).max();
    let mut behind = vec![Behind {
        name: "sequencer".to_owned(),
        events: (last - ordered.unwrap_or(last)).max(0),
        level_after: ordered_after,
    }];
    let mut left = first;
    loop {
        let now = standing(client).await?;
        let after = ended.elapsed();
        let at = |name: &str| now.iter().find(|follower| follower.name == name);
        left.retain(|follower| {
            let level = at(&follower.name).is_some_and(|now| now.position >= last);
            if level {
                behind.push(Behind {
                    name: follower.name.clone(),
                    events: (last - follower.position).max(0),
                    level_after: after,
                });
            }
            !level
        });
        let Some(slowest) = left.first() else {
            return Ok(behind);
        };
        if after > PATIENCE {
            let error = at(&slowest.name).map_or(&Value::Null, |now| &now.last_error);
            bail!("`{}` does not catch up: {error}", slowest.name);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Registers tools until one's place is known.
async fn end(client: &mut Client, load: &str, ended: Instant) -> anyhow::Result<i64> {
    let mut tries = 0;
    while ended.elapsed() < PATIENCE {
        tries += 1;
        if let Some(position) = register(client, &format!("after-{load}-{tries}")).await? {
            return Ok(position);
        }
    }
    bail!("events get no place in the log: some transaction of the server stays open")
}

async fn standing(client: &mut Client) -> anyhow::Result<Vec<Standing>> {
    let mut answer = client.ask(STANDING, json!({})).await?;
    let Value::Array(followers) = answer.data["projections"].take() else {
        bail!("the server tells of no projections");
    };
    followers
        .into_iter()
        .map(|mut follower| {
            let position = |field: &str| {
                let text = follower[field].as_str();
                text.and_then(|text| text.parse().ok())
                    .with_context(|| format!("`{field}` is no position: {}", follower[field]))
            };
            Ok(Standing {
                name: follower["name"].as_str().unwrap_or_default().to_owned(),
                position: position("position")?,
                head: position("head")?,
                last_error: follower["lastError"].take(),
            })
        })
        .collect()
}
