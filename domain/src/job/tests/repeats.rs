//! What is repeated by itself, and what never is.

use super::*;
use crate::{
    code::ErrorCategory,
    job::{
        Failure,
        ReceiptOutcome::{Answered, NotSent, Unknown},
        Told,
    },
};

#[test]
fn an_attempt_that_fails_for_now_is_followed_by_another() {
    let story = running()
        .when(fail_for_now(1))
        .then([attempt_failed(1), retry_scheduled(2)]);
    let job = story.state();
    assert_eq!(job.status(), Status::Pending);
    assert_eq!(job.run_at(), Some(at(10)));
    assert_eq!(job.error(), None);
    assert_eq!(job.failures(), 1);
    assert_eq!(job.attempts()[0].error, Some(failure()));
    let story = story.when(start_after(1)).when(fail_for_now(2));
    assert_eq!(story.state().failures(), 2);
    // who has it tried again by hand has it begin anew
    let story = story
        .when(start_after(2))
        .when(fail(3))
        .when(retry())
        .then([retry_scheduled(4)]);
    assert_eq!(story.state().failures(), 0);
}

#[test]
fn a_job_can_be_cancelled_while_it_waits_for_its_next_attempt() {
    running()
        .when(fail_for_now(1))
        .when(cancel())
        .then([cancelled()])
        .when(start_after(1))
        .then_refused(Error::AlreadyEnded {
            status: Status::Cancelled,
        });
}

#[test]
fn the_last_attempt_that_a_job_may_have_ends_it() {
    let rounds = (1..=limits::JOB_ATTEMPTS)
        .flat_map(|n| [retry_scheduled(n), started(n), attempt_failed(n)])
        .skip(1);
    let history = [requested()].into_iter().chain(rounds);
    let before_the_end = history.take(3 * limits::JOB_ATTEMPTS as usize - 1);
    let story = given::<Job>(before_the_end).when(fail_for_now(limits::JOB_ATTEMPTS));
    assert_eq!(story.state().status(), Status::Failed);
}

#[test]
fn a_lost_attempt_that_sent_nothing_to_be_doubled_is_run_elsewhere() {
    for harmless in [
        vec![],
        vec![receipt(1, Unknown, true)],
        vec![receipt(1, Answered, true), receipt(2, NotSent, false)],
    ] {
        running()
            .when(tell(1, harmless))
            .when(take_over(1))
            .then([lost(1), started(2)]);
    }
}

#[test]
fn a_lost_attempt_that_may_have_done_something_is_never_run_again() {
    for call in [receipt(2, Unknown, false), receipt(2, Answered, false)] {
        let story = running()
            .when(tell(1, vec![receipt(1, Answered, true), call]))
            .when(take_over(1));
        let job = story.state();
        assert_eq!(job.status(), Status::Failed);
        let error = job.error().unwrap();
        assert_eq!(error.code, "OUTCOME_UNKNOWN");
        assert!(!error.retryable);
        assert!(error.message.contains("POST https://pay.example/charge"));
        assert_eq!(job.attempts().len(), 1);
        assert_eq!(job.attempts()[0].error.as_ref(), Some(error));
        // by hand it can be: whoever asks has looked
        story.when(retry()).then([retry_scheduled(2)]);
    }
}

#[test]
fn a_failure_after_something_was_done_is_not_repeated_by_itself() {
    let failing = |calls: Vec<Receipt>| {
        let Command::Fail {
            attempt,
            error,
            duration_us,
            exit_code,
            retry_at,
            at,
            ..
        } = fail_for_now(1)
        else {
            unreachable!()
        };
        let told = of_calls(calls);
        let command = Command::Fail {
            attempt,
            error,
            duration_us,
            exit_code,
            retry_at,
            told,
            at,
        };
        running().when(command).state().status()
    };
    let answered = |step, status| Receipt {
        status: Some(status),
        ..receipt(step, Answered, false)
    };
    let last = receipt(2, NotSent, false);
    assert_eq!(failing(vec![receipt(1, Unknown, false)]), Status::Failed);
    assert_eq!(
        failing(vec![answered(1, 201), last.clone()]),
        Status::Failed
    );
    assert_eq!(failing(vec![answered(1, 503)]), Status::Failed);
    // refused, or of no effect however often
    assert_eq!(failing(vec![answered(1, 429)]), Status::Pending);
    assert_eq!(
        failing(vec![receipt(1, Unknown, true), last]),
        Status::Pending
    );
}

#[test]
fn what_is_known_is_not_told_again() {
    let call = receipt(1, Unknown, false);
    let ended = receipt(1, Answered, false);
    let recorded = |receipt: &Receipt| Event::CallRecorded {
        attempt: 1,
        receipt: receipt.clone(),
        at: at(3),
    };
    let story = running()
        .when(tell(1, vec![call.clone()]))
        .then([recorded(&call)])
        .when(tell(1, vec![call.clone()]))
        .then_nothing()
        .when(tell(1, vec![ended.clone()]))
        .then([recorded(&ended)]);
    assert_eq!(story.state().attempts()[0].receipts, [ended]);
}

#[test]
fn what_an_attempt_did_is_told_even_when_nobody_waits_for_it_any_more() {
    let (call, ended) = (receipt(1, Unknown, false), receipt(1, Answered, false));
    let late = |attempt| Command::TellLate {
        attempt,
        told: of_calls(vec![ended.clone()]),
        at: at(5),
    };
    let recorded = Event::CallRecorded {
        attempt: 1,
        receipt: ended.clone(),
        at: at(5),
    };
    for end in [cancel(), take_over(1)] {
        let story = running()
            .when(tell(1, vec![call.clone()]))
            .when(end)
            .when(late(1))
            .then([recorded.clone()])
            .when(tell(1, vec![call.clone()]));
        assert_eq!(
            story.state().attempts()[0].receipts,
            std::slice::from_ref(&ended)
        );
        assert!(matches!(story.refusal(), Error::AlreadyEnded { .. }));
    }
    running().when(late(2)).then_refused(Error::StaleAttempt {
        attempt: 2,
        current: 1,
    });
}

#[test]
fn what_has_only_waited_for_the_rate_is_none_of_the_policys_attempts() {
    let kept_back = |attempt, receipts| Command::Fail {
        attempt,
        error: Failure {
            code: "RATE_LIMIT_EXCEEDED".to_owned(),
            category: ErrorCategory::RateLimit,
            ..failure()
        },
        duration_us: DURATION_US,
        exit_code: None,
        retry_at: Some(at(10)),
        told: Told {
            receipts,
            ..Told::default()
        },
        at: at(4),
    };
    let story = running()
        .when(fail_for_now(1))
        .when(start_after(1))
        .when(kept_back(2, vec![]));
    assert_eq!(story.state().failures(), 1);
    // A run of which something was sent begins anew, and not without end.
    let story = story
        .when(start_after(2))
        .when(kept_back(3, vec![receipt(1, Answered, true)]));
    assert_eq!(story.state().failures(), 2);
}

#[test]
fn a_receipt_from_before_urls_were_sealed_is_read_and_written_as_it_was() {
    let written = serde_json::json!({
        "idempotency_key": "job_1", "method": "POST", "url": "https://pay.example/charge?of=***",
        "request_sha256": "00", "sent_at": "2026-07-01T12:00:00Z", "status": 200,
        "outcome": "ANSWERED", "repeatable": false,
    });
    let receipt: Receipt = serde_json::from_value(written.clone()).unwrap();
    assert_eq!((&receipt.sent_url, receipt.digest_key), (&None, None));
    assert_eq!(serde_json::to_value(receipt).unwrap(), written);
}
