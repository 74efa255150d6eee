//! What the stories of a job are told with.

use super::super::{
    Command, Event, Failure, Ground, Job, Progress, Receipt, ReceiptOutcome, Request, Told, ToolRef,
};
use crate::{
    code::ErrorCategory,
    id::{JobId, ToolId, WorkspaceId},
    sealed::Sealed,
    testing::{Story, at, given},
    tool::Kind,
};

pub const LEASE_MS: u64 = 15_000;
pub const DURATION_US: u64 = 1_234;

pub fn id() -> JobId {
    JobId::from_uuid(uuid::Uuid::from_u128(7))
}

pub fn sealed(data: &str) -> Sealed {
    Sealed {
        key: 1,
        data: data.to_owned(),
        blob: None,
    }
}

pub fn tool() -> ToolRef {
    ToolRef {
        id: ToolId::from_uuid(uuid::Uuid::from_u128(1)),
        version: 2,
        kind: Kind::Native,
        connector: None,
    }
}

pub fn request() -> Box<Request> {
    Box::new(Request {
        id: id(),
        workspace: WorkspaceId::DEFAULT,
        tool: tool(),
        action: None,
        input: sealed("in"),
        is_test: false,
        priority: 0,
        run_at: None,
        rerun_of: None,
        recorded: false,
        at: at(1),
    })
}

pub fn requested() -> Event {
    Event::Requested {
        id: id(),
        workspace: WorkspaceId::DEFAULT,
        tool: tool(),
        action: None,
        input: sealed("in"),
        is_test: false,
        priority: 0,
        run_at: None,
        rerun_of: None,
        recorded: false,
        at: at(1),
    }
}

pub fn start() -> Command {
    Command::Start {
        node: "n1".to_owned(),
        lease_ms: LEASE_MS,
        ground: Ground::Due { after: 0 },
        at: at(2),
    }
}

pub fn start_after(after: u32) -> Command {
    Command::Start {
        node: "n1".to_owned(),
        lease_ms: LEASE_MS,
        ground: Ground::Due { after },
        at: at(2),
    }
}

pub fn take_over(attempt: u32) -> Command {
    Command::Start {
        node: "n1".to_owned(),
        lease_ms: LEASE_MS,
        ground: Ground::Silent { attempt },
        at: at(2),
    }
}

pub fn started(attempt: u32) -> Event {
    Event::Started {
        attempt,
        node: "n1".to_owned(),
        lease_ms: LEASE_MS,
        at: at(2),
    }
}

pub fn succeed(attempt: u32) -> Command {
    Command::Succeed {
        attempt,
        output: sealed("out"),
        duration_us: DURATION_US,
        exit_code: None,
        told: Told::default(),
        at: at(3),
    }
}

pub fn succeeded(attempt: u32) -> Event {
    Event::Succeeded {
        attempt,
        output: sealed("out"),
        duration_us: DURATION_US,
        exit_code: None,
        at: at(3),
    }
}

pub fn failure() -> Failure {
    Failure {
        code: "TOOL_FAILED".to_owned(),
        category: ErrorCategory::ServerError,
        message: "the endpoint answered 503".to_owned(),
        retryable: true,
        details: Some(sealed("what it said")),
    }
}

pub fn fail(attempt: u32) -> Command {
    Command::Fail {
        attempt,
        error: failure(),
        duration_us: DURATION_US,
        exit_code: None,
        retry_at: None,
        told: Told::default(),
        at: at(3),
    }
}

pub fn failed(attempt: u32) -> Event {
    Event::Failed {
        attempt,
        error: failure(),
        duration_us: DURATION_US,
        exit_code: None,
        at: at(3),
    }
}

pub fn progress(attempt: u32, percentage: f64) -> Command {
    Command::Progress {
        attempt,
        progress: Progress {
            step: Some("reading".to_owned()),
            percentage: Some(percentage),
        },
        at: at(3),
    }
}

pub fn cancel() -> Command {
    Command::Cancel {
        reason: Some("no longer needed".to_owned()),
        at: at(4),
    }
}

pub fn cancelled() -> Event {
    Event::Cancelled {
        reason: Some("no longer needed".to_owned()),
        at: at(4),
    }
}

pub fn retry() -> Command {
    Command::Retry {
        run_at: at(10),
        at: at(4),
    }
}

pub fn retry_scheduled(attempt: u32) -> Event {
    Event::RetryScheduled {
        attempt,
        run_at: at(10),
        at: at(4),
    }
}

pub fn running() -> Story<Job> {
    given([requested(), started(1)])
}

pub fn lost(attempt: u32) -> Event {
    Event::AttemptFailed {
        attempt,
        error: Failure {
            code: "NODE_LOST".to_owned(),
            category: ErrorCategory::Unknown,
            message: "the node that ran it fell silent; another one takes over".to_owned(),
            retryable: true,
            details: None,
        },
        duration_us: 0,
        exit_code: None,
        at: at(2),
    }
}

pub fn fail_for_now(attempt: u32) -> Command {
    Command::Fail {
        attempt,
        error: failure(),
        duration_us: DURATION_US,
        exit_code: None,
        retry_at: Some(at(10)),
        told: Told::default(),
        at: at(4),
    }
}

pub fn attempt_failed(attempt: u32) -> Event {
    Event::AttemptFailed {
        attempt,
        error: failure(),
        duration_us: DURATION_US,
        exit_code: None,
        at: at(4),
    }
}

pub fn receipt(step: u32, outcome: ReceiptOutcome, repeatable: bool) -> Receipt {
    Receipt {
        idempotency_key: format!("{}/{step}", id()),
        method: "POST".to_owned(),
        url: "https://pay.example/charge".to_owned(),
        sent_url: None,
        request_sha256: "00".repeat(32),
        digest_key: Some(1),
        sent_at: at(3),
        status: match outcome {
            ReceiptOutcome::Answered => Some(200),
            _ => None,
        },
        outcome,
        repeatable,
    }
}

pub fn of_calls(receipts: Vec<Receipt>) -> Told {
    Told {
        receipts,
        ..Told::default()
    }
}

pub fn tell(attempt: u32, receipts: Vec<Receipt>) -> Command {
    Command::Tell {
        attempt,
        told: of_calls(receipts),
        at: at(3),
    }
}
