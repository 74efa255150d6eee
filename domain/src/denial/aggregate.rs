//! How much is told of refusals (`handle`), and what was told (`apply`).

use cqrs_es::{Aggregate, event_sink::EventSink};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::{
    command::Command,
    error::Error,
    event::{Denial, Event},
};
use crate::{id::WorkspaceId, limits, name::check_label, violation::Violation};

const HOUR_S: i64 = 3_600;

/// The refusals of one workspace and day, as their events tell them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denials {
    workspace: Option<WorkspaceId>,
    /// The hour that is told of, counted from the epoch.
    hour: i64,
    /// How many events were told of it.
    told: u32,
    /// What was told last, so that saying it twice is known as such.
    last: Option<Event>,
}

impl Denials {
    /// To whom they belong.
    pub fn workspace(&self) -> Option<WorkspaceId> {
        self.workspace
    }

    fn has_room(&self, at: Timestamp) -> bool {
        hour(at) > self.hour || self.told < limits::DENIALS_PER_HOUR
    }
}

fn hour(at: Timestamp) -> i64 {
    at.as_second().div_euclid(HOUR_S)
}

/// The id of the stream that tells of a workspace's refusals at a moment: the workspace and its day,
/// UTC.
pub fn stream_id(workspace: WorkspaceId, at: Timestamp) -> String {
    format!("{workspace}_{}", at.to_zoned(TimeZone::UTC).date())
}

fn check_span(count: u64, first_at: Timestamp, last_at: Timestamp, found: &mut Vec<Violation>) {
    if count == 0 {
        found.push(Violation::new("count", "must be at least 1"));
    }
    if last_at < first_at {
        let problem = "must not lie before `firstAt`";
        found.push(Violation::new("lastAt", problem));
    }
}

fn check(denial: &Denial) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in [("operation", &denial.operation), ("reason", &denial.reason)] {
        found.extend(check_label(path, text, limits::LABEL_CHARS).err());
    }
    check_span(denial.count, denial.first_at, denial.last_at, &mut found);
    found
}

impl Aggregate for Denials {
    const TYPE: &'static str = "denial";
    type Command = Command;
    type Event = Event;
    type Error = Error;
    type Services = ();

    async fn handle(
        &mut self,
        command: Command,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Error> {
        let (event, found) = match command {
            Command::Deny { workspace, denial } => {
                let found = check(&denial);
                (Event::Denied { workspace, denial }, found)
            }
            Command::Omit {
                workspace,
                count,
                first_at,
                last_at,
            } => {
                let mut found = Vec::new();
                check_span(count, first_at, last_at, &mut found);
                let event = Event::Omitted {
                    workspace,
                    count,
                    first_at,
                    last_at,
                };
                (event, found)
            }
        };
        if !found.is_empty() {
            return Err(Error::Invalid(found));
        }
        if self.last.as_ref() == Some(&event) {
            return Ok(());
        }
        if let Event::Denied { denial, .. } = &event
            && !self.has_room(denial.last_at)
        {
            return Err(Error::HourFull);
        }
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: Event) {
        match &event {
            Event::Denied { workspace, denial } => {
                self.workspace = Some(*workspace);
                // An earlier hour, told late by another node, is counted with this one.
                let hour = hour(denial.last_at);
                if hour > self.hour {
                    (self.hour, self.told) = (hour, 0);
                }
                self.told += 1;
            }
            Event::Omitted { workspace, .. } => self.workspace = Some(*workspace),
        }
        self.last = Some(event);
    }
}
