//! How many files and connections this process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Enough for all connections of the server, of its calls and of its database, twice over.
const WANTED: u64 = 65_536;

/// What a node with its default rooms needs: a connection in and one out for each call, and the rest.
const ENOUGH: u64 = 8_192;

/// Raises the limit as far as it may be raised: shells and service managers commonly begin at 1,024, and
/// let each process raise that by itself.
pub fn raise_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    let wanted = WANTED.min(hard).max(soft);
    let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
    let files = if raised.is_ok() { wanted } else { soft };
    if files < ENOUGH {
        tracing::warn!(
            files,
            "this process may have few files open; raise the hard limit (`ulimit -Hn`, `LimitNOFILE=`) to {ENOUGH} or more for a thousand calls at once"
        );
    }
}
