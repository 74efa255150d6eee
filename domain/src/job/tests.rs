use cqrs_es::DomainEvent;
use serde_json::json;

use super::{
    Command, Error, Event, Ground, Job, Progress, Receipt, ReceiptOutcome, Request, Status,
};
use crate::{
    code::{ErrorCode, Refusal},
    limits,
    testing::{at, given},
    violation::Violation,
};

mod properties;
mod repeats;
mod samples;

use samples::*;

#[test]
fn a_job_is_requested_started_and_succeeds() {
    let story = given::<Job>([])
        .when(Command::Request(request()))
        .then([requested()])
        .when(start())
        .then([started(1)])
        .when(succeed(1))
        .then([succeeded(1)]);
    let job = story.state();
    assert_eq!(job.status(), Status::Succeeded);
    assert_eq!(job.output(), Some(&sealed("out")));
    assert_eq!(job.duration_us(), Some(DURATION_US));
    assert_eq!(job.finished_at(), Some(at(3)));
    assert_eq!(job.attempts()[0].finished_at, Some(at(3)));
}

#[test]
fn a_call_that_waits_is_requested_and_started_in_one_append() {
    let command = Command::RequestAndStart {
        request: request(),
        node: "n1".to_owned(),
        lease_ms: LEASE_MS,
    };
    let begun = Event::Started {
        attempt: 1,
        node: "n1".to_owned(),
        lease_ms: LEASE_MS,
        at: at(1),
    };
    given::<Job>([])
        .when(command.clone())
        .then([requested(), begun])
        .when(command)
        .then_refused(Error::AlreadyRequested);
}

#[test]
fn what_a_client_chooses_is_bounded() {
    fn refused(change: impl FnOnce(&mut Request)) -> String {
        let mut asked = request();
        change(&mut asked);
        let story = given::<Job>([]).when(Command::Request(asked));
        story.refusal().violations()[0].path.clone()
    }
    assert_eq!(
        refused(|r| r.priority = limits::JOB_PRIORITY + 1),
        "priority"
    );
    assert_eq!(
        refused(|r| r.priority = -limits::JOB_PRIORITY - 1),
        "priority"
    );
    let year = 366 * 24 * 3_600;
    assert_eq!(refused(|r| r.run_at = Some(at(year + 2))), "runAt");
    assert_eq!(refused(|r| r.action = Some("a".repeat(1_000))), "action");
    let mut asked = request();
    asked.priority = -limits::JOB_PRIORITY;
    asked.run_at = Some(at(year + 1));
    assert!(
        given::<Job>([])
            .when(Command::Request(asked))
            .state()
            .exists()
    );
}

#[test]
fn requesting_twice_is_refused() {
    given::<Job>([requested()])
        .when(Command::Request(request()))
        .then_refused(Error::AlreadyRequested);
}

#[test]
fn nothing_can_be_asked_of_a_job_that_was_never_requested() {
    for command in [
        start(),
        take_over(0),
        progress(0, 1.0),
        succeed(0),
        fail(0),
        retry(),
        cancel(),
    ] {
        given::<Job>([]).when(command).then_refused(Error::Unknown);
    }
}

#[test]
fn starting_twice_is_refused() {
    running()
        .when(start())
        .then_refused(Error::AlreadyRunning { attempt: 1 });
}

#[test]
fn a_job_is_started_on_the_ground_that_was_decided_on_and_no_other() {
    let story = running().when(fail_for_now(1));
    // who had seen it wait before its first attempt has not seen how long it is to wait now
    let story = story.when(start()).then_refused(Error::StaleAttempt {
        attempt: 0,
        current: 1,
    });
    let started = story.when(start_after(1));
    assert_eq!(started.state().status(), Status::Running);
}

#[test]
fn a_takeover_is_a_new_attempt_and_the_old_node_finds_its_outcome_refused() {
    running()
        .when(take_over(1))
        .then([lost(1), started(2)])
        .when(succeed(1))
        .then_refused(Error::StaleAttempt {
            attempt: 1,
            current: 2,
        })
        .when(fail(1))
        .then_refused(Error::StaleAttempt {
            attempt: 1,
            current: 2,
        })
        .when(progress(1, 5.0))
        .then_refused(Error::StaleAttempt {
            attempt: 1,
            current: 2,
        })
        .when(succeed(2))
        .then([succeeded(2)]);
}

#[test]
fn taking_the_same_attempt_over_twice_is_refused() {
    running()
        .when(take_over(1))
        .when(take_over(1))
        .then_refused(Error::StaleAttempt {
            attempt: 1,
            current: 2,
        });
}

#[test]
fn only_a_running_job_can_be_taken_over() {
    given::<Job>([requested()])
        .when(take_over(1))
        .then_refused(Error::StaleAttempt {
            attempt: 1,
            current: 0,
        });
    running()
        .when(succeed(1))
        .when(take_over(1))
        .then_refused(Error::AlreadyEnded {
            status: Status::Succeeded,
        });
}

#[test]
fn a_job_that_loses_node_after_node_is_given_up() {
    let mut story = running();
    for attempt in 1..=limits::JOB_TAKEOVERS {
        story = story
            .when(take_over(attempt))
            .then([lost(attempt), started(attempt + 1)]);
    }
    let story = story.when(take_over(limits::JOB_TAKEOVERS + 1));
    let job = story.state();
    assert_eq!(job.status(), Status::Failed);
    assert_eq!(job.error().unwrap().code, "NODE_LOST");
    assert_eq!(job.attempt(), limits::JOB_TAKEOVERS + 1);
    // Who tries it again by hand gets the full number of takeovers again.
    let again = limits::JOB_TAKEOVERS + 2;
    story
        .when(retry())
        .then([retry_scheduled(again)])
        .when(start_after(again - 1))
        .when(take_over(again))
        .then([lost(again), started(again + 1)]);
}

#[test]
fn progress_is_told_once_and_forgotten_by_the_next_attempt() {
    let event = Event::Progressed {
        attempt: 1,
        progress: Progress {
            step: Some("reading".to_owned()),
            percentage: Some(50.0),
        },
        at: at(3),
    };
    let story = running()
        .when(progress(1, 50.0))
        .then([event])
        .when(progress(1, 50.0))
        .then_nothing();
    assert_eq!(story.state().progress().percentage, Some(50.0));
    let story = story.when(take_over(1));
    assert_eq!(story.state().progress(), &Progress::default());
}

#[test]
fn progress_beyond_all_measure_is_refused() {
    for percentage in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
        running()
            .when(progress(1, percentage))
            .then_refused(Error::Invalid(Violation::new(
                "percentage",
                "must be from 0 to 100",
            )));
    }
    let wordy = Command::Progress {
        attempt: 1,
        progress: Progress {
            step: Some("s".repeat(limits::REMARK_CHARS + 1)),
            percentage: None,
        },
        at: at(3),
    };
    assert_eq!(running().when(wordy).refusal().violations()[0].path, "step");
}

#[test]
fn an_outcome_told_twice_is_refused_the_second_time() {
    running()
        .when(succeed(1))
        .when(succeed(1))
        .then_refused(Error::AlreadyEnded {
            status: Status::Succeeded,
        })
        .when(fail(1))
        .then_refused(Error::AlreadyEnded {
            status: Status::Succeeded,
        });
    let story = running()
        .when(fail(1))
        .then([failed(1)])
        .when(fail(1))
        .then_refused(Error::AlreadyEnded {
            status: Status::Failed,
        });
    assert_eq!(story.state().error(), Some(&failure()));
    assert_eq!(story.state().attempts()[0].error, Some(failure()));
}

#[test]
fn a_job_that_cannot_even_begin_fails_without_an_attempt() {
    let story = given::<Job>([requested()]).when(fail(0)).then([failed(0)]);
    assert!(story.state().attempts().is_empty());
    running().when(fail(0)).then_refused(Error::StaleAttempt {
        attempt: 0,
        current: 1,
    });
}

#[test]
fn a_failed_job_is_tried_again_when_it_is_due() {
    let story = running()
        .when(fail(1))
        .when(retry())
        .then([retry_scheduled(2)])
        .when(succeed(1))
        .then_refused(Error::StaleAttempt {
            attempt: 1,
            current: 1,
        })
        .when(start_after(1))
        .when(succeed(2))
        .then([succeeded(2)]);
    assert_eq!(story.state().attempts().len(), 2);
    assert_eq!(story.state().error(), None);
}

#[test]
fn retrying_twice_or_what_has_not_failed_is_refused() {
    running()
        .when(retry())
        .then_refused(Error::NotFailed {
            status: Status::Running,
        })
        .when(fail(1))
        .when(retry())
        .when(retry())
        .then_refused(Error::NotFailed {
            status: Status::Pending,
        });
}

#[test]
fn a_job_has_a_bounded_number_of_attempts() {
    let rounds = (1..=limits::JOB_ATTEMPTS)
        .flat_map(|n| [retry_scheduled(n), started(n), failed(n)])
        .skip(1);
    given::<Job>([requested()].into_iter().chain(rounds))
        .when(retry())
        .then_refused(Error::TooManyAttempts {
            limit: limits::JOB_ATTEMPTS,
        });
}

#[test]
fn cancelling_twice_is_fine() {
    for story in [given::<Job>([requested()]), running()] {
        story
            .when(cancel())
            .then([cancelled()])
            .when(cancel())
            .then_nothing();
    }
}

#[test]
fn what_has_ended_cannot_be_cancelled() {
    for (ending, status) in [(succeed(1), Status::Succeeded), (fail(1), Status::Failed)] {
        running()
            .when(ending)
            .when(cancel())
            .then_refused(Error::AlreadyEnded { status });
    }
}

#[test]
fn a_cancelled_job_takes_no_outcome_and_no_start() {
    let ended = Error::AlreadyEnded {
        status: Status::Cancelled,
    };
    assert_eq!(ended.code(), ErrorCode::JobCancelled);
    let mut story = running().when(cancel());
    assert_eq!(story.state().attempts()[0].finished_at, Some(at(4)));
    for command in [succeed(1), fail(1), progress(1, 1.0), start(), take_over(1)] {
        story = story.when(command).then_refused(ended.clone());
    }
}

#[test]
fn remarks_are_bounded() {
    let wordy = Command::Cancel {
        reason: Some("r".repeat(limits::REMARK_CHARS + 1)),
        at: at(4),
    };
    assert_eq!(
        running().when(wordy).refusal().violations()[0].path,
        "reason"
    );
    let mut odd = request();
    odd.action = Some("\u{0}".to_owned());
    let refusal = given::<Job>([]).when(Command::Request(odd)).refusal();
    assert_eq!(refusal.violations()[0].path, "action");
}

#[test]
fn the_names_of_events_are_frozen() {
    let progressed = Event::Progressed {
        attempt: 1,
        progress: Progress::default(),
        at: at(3),
    };
    let events = [
        (requested(), "JobRequested"),
        (started(1), "JobStarted"),
        (progressed, "JobProgressed"),
        (succeeded(1), "JobSucceeded"),
        (failed(1), "JobFailed"),
        (retry_scheduled(2), "JobRetryScheduled"),
        (cancelled(), "JobCancelled"),
    ];
    for (event, name) in events {
        assert_eq!(event.event_type(), name);
        assert_eq!(event.event_version(), "1.0");
        assert_eq!(serde_json::to_value(&event).unwrap()["type"], name);
    }
}

#[test]
fn a_stored_failure_keeps_its_shape() {
    assert_eq!(
        serde_json::to_value(failed(1)).unwrap(),
        json!({
            "type": "JobFailed",
            "attempt": 1,
            "error": {
                "code": "TOOL_FAILED",
                "category": "SERVER_ERROR",
                "message": "the endpoint answered 503",
                "retryable": true,
                "details": {"key": 1, "data": "what it said"},
            },
            "duration_us": DURATION_US,
            "at": "1970-01-01T00:00:03Z",
        })
    );
}
