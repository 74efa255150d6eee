//! What each plan grants.

use crate::workspace::Plan;

/// How often something may be asked for: a bucket of `burst` tokens, of which each request takes
/// one, and into which `per_second` flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Requests a second, in the long run.
    pub per_second: u32,
    /// Requests at once, after a pause.
    pub burst: u32,
}

/// What a plan grants a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grants {
    /// Runs of tools from one full hour UTC to the next.
    pub runs_per_hour: u32,
    /// Runs of tools from one midnight UTC to the next.
    pub runs_per_day: u32,
    /// Requests of all its callers together.
    pub workspace: Rate,
    /// Requests of one of its keys.
    pub key: Rate,
}

/// For how many seconds a rate may be saved up. 60 requests a minute, what the services that tools
/// call commonly grant, come in bursts of this length.
const SAVED_SECONDS: u32 = 10;

impl Rate {
    const fn of(per_second: u32) -> Self {
        Self {
            per_second,
            burst: per_second * SAVED_SECONDS,
        }
    }
}

impl Plan {
    /// What it grants: the runs are those of the reference `tool-actions.md` (user quotas). Requests
    /// are ours: ten a second for nothing, and tenfold with each plan, as the runs are; so a client
    /// that reads and watches is not in the way of its own runs. A single key has half of them, so
    /// that one program does not starve the others.
    pub const fn grants(self) -> Grants {
        let (runs_per_hour, requests_per_second) = match self {
            Self::Free => (100, 10),
            Self::Pro => (1_000, 100),
            Self::Enterprise => (10_000, 1_000),
        };
        Grants {
            runs_per_hour,
            runs_per_day: 10 * runs_per_hour,
            workspace: Rate::of(requests_per_second),
            key: Rate::of(requests_per_second / 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_granted_as_the_reference_says() {
        let runs = |plan: Plan| {
            let grants = plan.grants();
            (grants.runs_per_hour, grants.runs_per_day)
        };
        assert_eq!(runs(Plan::Free), (100, 1_000));
        assert_eq!(runs(Plan::Pro), (1_000, 10_000));
        assert_eq!(runs(Plan::Enterprise), (10_000, 100_000));
    }

    #[test]
    fn a_key_is_granted_no_more_than_its_workspace() {
        for plan in [Plan::Free, Plan::Pro, Plan::Enterprise] {
            let Grants { workspace, key, .. } = plan.grants();
            assert!(key.per_second >= 1 && key.per_second <= workspace.per_second);
            assert!(key.burst <= workspace.burst);
        }
    }
}
