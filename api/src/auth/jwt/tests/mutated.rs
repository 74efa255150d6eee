//! Whatever is changed in a token that counts, it counts no longer.

use std::sync::LazyLock;

use proptest::{prelude::*, sample::Index};
use tokio::runtime::{Builder, Runtime};

use super::support::*;

/// A token that counts, of each algorithm.
static TOKENS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let signed = |(alg, kid, signer)| {
        let header = header(alg, kid).to_string();
        token_of(header, claims().to_string(), signer)
    };
    SERVED.into_iter().map(signed).collect()
});

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime can be built")
}

fn counts(token: &str) -> bool {
    let world = World::new();
    runtime().block_on(world.verify(token)).is_ok()
}

#[test]
fn each_counts_as_it_is() {
    assert!(TOKENS.iter().all(|token| counts(token)));
}

#[test]
fn no_bit_of_any_token_is_idle() {
    let (world, runtime) = (World::new(), runtime());
    for token in TOKENS.iter() {
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            // The last bit of a base64 character stays within ASCII and within most alphabets.
            bytes[at] ^= 1;
            let text = String::from_utf8(bytes).expect("it is ASCII");
            let outcome = runtime.block_on(world.verify(&text));
            assert!(outcome.is_err(), "the byte at {at} is idle: {text}");
        }
    }
    assert_eq!(world.provider.fetches(), 1, "broken ids ask for no keys");
}

#[test]
fn a_signature_counts_under_its_own_header_only() {
    let part = |of: usize, at: usize| TOKENS[of].split('.').nth(at).expect("it has three");
    for header in 0..TOKENS.len() {
        for signature in 0..TOKENS.len() {
            let text = format!("{}.{}.{}", part(header, 0), part(0, 1), part(signature, 2));
            assert_eq!(counts(&text), header == signature, "{text}");
        }
    }
}

proptest! {
    #[test]
    fn a_changed_byte_is_found(which in any::<Index>(), at in any::<Index>(), byte in 0..128_u8) {
        let token = which.get(&TOKENS);
        let mut bytes = token.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        let text = String::from_utf8(bytes).expect("it is ASCII");
        prop_assert!(!counts(&text), "{text}");
    }

    #[test]
    fn a_cut_or_lengthened_token_is_found(
        which in any::<Index>(),
        at in any::<Index>(),
        inserted in "[A-Za-z0-9_.=-]{0,3}",
        cut in 0..3_usize,
    ) {
        let token = which.get(&TOKENS);
        let at = at.index(token.len());
        let after = &token[(at + cut).min(token.len())..];
        let text = format!("{}{inserted}{after}", &token[..at]);
        prop_assume!(text != *token);
        prop_assert!(!counts(&text), "{text}");
    }

    #[test]
    fn no_text_is_a_token(text in "\\PC{0,200}", dotted in "[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,40}){0,4}") {
        prop_assert!(!counts(&text));
        prop_assert!(!counts(&dotted));
    }
}
