//! What does not arrive, and what is said of it.

use std::time::Duration;

use toolroom_domain::{ErrorCategory, ErrorCode};

use super::*;

async fn refused_at(at: &'static str, answer: &'static str) -> (World, CallError) {
    let world = World::new(Manner::Refuses(at, answer)).await;
    let error = world.send(note()).await.unwrap_err();
    (world, error)
}

#[tokio::test]
async fn a_refusal_is_sorted_by_its_place_and_code() {
    use ErrorCategory::{Authentication, Authorization, RateLimit, ServerError, Validation};
    for (at, answer, category) in [
        ("greeting", "421 4.3.2 closing", ServerError),
        ("greeting", "554 5.7.1 not you", Authorization),
        ("STARTTLS", "454 not now", ServerError),
        ("AUTH", "454 4.7.0 not now", RateLimit),
        ("AUTH", "454 not now", ServerError),
        ("AUTH", "534 too weak", Authentication),
        ("AUTH", "535 5.7.8 no", Authentication),
        ("MAIL", "530 5.7.0 login first", Authentication),
        ("MAIL", "550 5.7.1 not your address", Authorization),
        ("MAIL", "451 4.3.0 later", ServerError),
        ("RCPT", "550 5.1.1 nobody", Validation),
        ("RCPT", "450 4.7.1 greylisted", RateLimit),
        ("RCPT", "452 4.2.2 full", ServerError),
        ("DATA", "451 4.3.0 later", ServerError),
        ("DATA", "554 5.5.1 no valid recipients", Validation),
        (".", "552 5.3.4 too large", Validation),
        (".", "554 5.7.1 spam", Validation),
        (".", "451 4.3.0 later", ServerError),
        (".", "421 4.7.0 too many", RateLimit),
    ] {
        let (world, error) = refused_at(at, answer).await;
        assert_eq!(error.category, category, "{at} {answer}: {error}");
        assert_eq!(error.code, ErrorCode::ToolFailed);
        let temporary = answer.starts_with('4');
        assert_eq!(error.retryable, temporary, "{at} {answer}");
        assert!(error.message.contains(&answer[..3]), "{error}");
        // A letter that was refused is not under way.
        assert!(!world.effects.any() && !world.effects.cut());
        assert!(world.office.received().is_empty());
    }
}

#[tokio::test]
async fn what_the_server_said_stands_in_the_details_alone_and_without_the_password() {
    let answer = "535 5.7.8 sesame/open+4711 c2VzYW1lL29wZW4rNDcxMQ== is wrong";
    let (_, error) = refused_at("AUTH", answer).await;
    assert!(!error.message.contains("wrong"), "{error}");
    assert_eq!(
        error.details,
        Some(json!({ "code": 535, "phase": "login", "said": "5.7.8 *** *** is wrong" }))
    );
}

#[tokio::test]
async fn wrong_credentials_are_told_as_such() {
    let world = World::new(Manner::Proper).await.with("password", "wrong");
    let error = world.send(note()).await.unwrap_err();
    assert_eq!(error.category, ErrorCategory::Authentication);
    assert!(world.book.entries().is_empty());
}

#[tokio::test]
async fn a_letter_goes_to_all_or_to_none() {
    let world = World::new(Manner::Proper).await;
    let mut input = note();
    input["cc"] = json!(["nobody@example.org", "joe@example.org"]);
    let error = world.send(input).await.unwrap_err();
    assert_eq!(error.category, ErrorCategory::Validation);
    assert_eq!(error.details.unwrap()["recipient"], "nobody@example.org");
    assert!(!world.office.heard().contains(&"DATA".to_owned()));
    assert!(world.book.entries().is_empty());
}

#[tokio::test]
async fn a_refused_letter_has_a_receipt_that_says_so() {
    let (world, _) = refused_at(".", "554 5.7.1 spam").await;
    assert_eq!(
        world.book.entries(),
        ["sending Unknown", "received Answered 554"]
    );
    let (world, _) = refused_at("DATA", "451 later").await;
    assert_eq!(
        world.book.entries(),
        ["sending Unknown", "received NotSent"]
    );
}

#[tokio::test]
async fn nobody_knows_what_came_of_a_letter_after_whose_end_the_line_broke() {
    let world = World::new(Manner::HangsUpAt(".")).await;
    let error = world.send(note()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::OutcomeUnknown, "{error}");
    assert!(!error.retryable);
    assert_eq!(
        world.book.entries(),
        ["sending Unknown", "received Unknown"]
    );
    assert!(world.effects.any());
    // The server had it: the same letter again would be the second.
    assert_eq!(world.office.received().len(), 1);
}

#[tokio::test]
async fn an_answer_to_the_letter_that_is_none_leaves_it_unknown() {
    let (world, error) = refused_at(".", "what").await;
    assert_eq!(error.code, ErrorCode::OutcomeUnknown, "{error}");
    assert_eq!(
        world.book.entries(),
        ["sending Unknown", "received Unknown"]
    );
}

#[tokio::test]
async fn a_letter_that_did_not_get_to_its_end_was_not_sent() {
    let world = World::new(Manner::HangsUpWithin).await;
    // More than goes out at once: the line is gone by the second time.
    let mut input = note();
    input["body"] = json!("All work and no play.\n".repeat(15_000));
    let error = world.send(input).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ToolFailed, "{error}");
    assert_eq!(error.category, ErrorCategory::Network);
    assert!(error.retryable);
    assert_eq!(
        world.book.entries(),
        ["sending Unknown", "received NotSent"]
    );
    assert!(!world.effects.any());
}

#[tokio::test]
async fn a_line_that_breaks_before_the_letter_is_worth_another_try() {
    for at in ["EHLO", "AUTH", "MAIL", "RCPT"] {
        let world = World::new(Manner::HangsUpAt(at)).await;
        let error = world.send(note()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::ToolFailed, "{at}: {error}");
        assert!(error.retryable, "{at}: {error}");
        assert!(world.book.entries().is_empty(), "{at}");
    }
}

#[tokio::test]
async fn a_run_that_is_cut_off_after_the_letter_tells_so() {
    let world = World::new(Manner::Silent(".")).await;
    // As long as a server may think about a letter, a policy ends the wait: by dropping it.
    let input = note();
    let sending = world.send(input);
    let cut = tokio::time::timeout(Duration::from_millis(500), sending).await;
    assert!(cut.is_err());
    assert_eq!(
        world.book.entries(),
        ["sending Unknown", "received Unknown"]
    );
    assert!(world.effects.any() && world.effects.cut());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_not_waited_for() {
    for at in ["greeting", "MAIL"] {
        let world = World::new(Manner::Silent(at)).await;
        let error = world.send(note()).await.unwrap_err();
        assert_eq!(error.category, ErrorCategory::Timeout, "{at}");
        assert!(error.retryable && world.book.entries().is_empty());
    }
}

#[tokio::test]
async fn what_is_no_mail_server_is_told_as_such() {
    for manner in [Manner::Http, Manner::Refuses("greeting", "hello")] {
        let world = World::new(manner).await;
        let error = world.send(note()).await.unwrap_err();
        assert!(error.message.contains("no mail server"), "{error}");
        assert!(!error.retryable);
    }
}

#[tokio::test]
async fn nobody_there_is_told_as_such() {
    let world = World::new(Manner::Proper).await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let error = world.with("port", port).send(note()).await.unwrap_err();
    assert_eq!(error.category, ErrorCategory::Network);
    assert!(error.message.contains("refused the connection"), "{error}");
}
