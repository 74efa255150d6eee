//! What somebody may do in a workspace, and which role is above which.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What somebody may do in a workspace. Which operation each may do, [`crate::access`] says.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// Everything.
    Owner,
    /// Everything but the workspace's end.
    Admin,
    /// Makes and runs tools.
    Member,
    /// Reads.
    Viewer,
    /// Reads catalogue, jobs and audit, and runs nothing.
    Auditor,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Owner,
        Self::Admin,
        Self::Member,
        Self::Viewer,
        Self::Auditor,
    ];

    /// The role as clients see it, such as `OWNER`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "OWNER",
            Self::Admin => "ADMIN",
            Self::Member => "MEMBER",
            Self::Viewer => "VIEWER",
            Self::Auditor => "AUDITOR",
        }
    }

    /// Whether whoever has `other` may give this role without giving more than they have.
    ///
    /// VIEWER, MEMBER, ADMIN and OWNER stand one above the other. An AUDITOR reads the audit, which
    /// a member may not, and runs nothing: below ADMIN, and neither above nor below MEMBER and
    /// VIEWER.
    pub fn is_no_higher_than(self, other: Self) -> bool {
        match other {
            Self::Owner => true,
            Self::Admin => self != Self::Owner,
            Self::Member => matches!(self, Self::Member | Self::Viewer),
            Self::Viewer | Self::Auditor => self == other,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_written_as_clients_see_it() {
        for role in Role::ALL {
            let written = serde_json::to_value(role).unwrap();
            assert_eq!(written, role.as_str());
            assert_eq!(serde_json::from_value::<Role>(written).unwrap(), role);
        }
    }

    #[test]
    fn the_order_is_a_partial_one() {
        for a in Role::ALL {
            assert!(a.is_no_higher_than(a), "{a}");
            for b in Role::ALL {
                let both = a.is_no_higher_than(b) && b.is_no_higher_than(a);
                assert!(
                    !both || a == b,
                    "{a} and {b} are each no higher than the other"
                );
                for c in Role::ALL {
                    let through = a.is_no_higher_than(b) && b.is_no_higher_than(c);
                    assert!(!through || a.is_no_higher_than(c), "{a} {b} {c}");
                }
            }
        }
    }

    #[test]
    fn an_auditor_is_below_admins_and_beside_members() {
        use Role::{Admin, Auditor, Member, Owner, Viewer};
        assert!(Auditor.is_no_higher_than(Admin) && Auditor.is_no_higher_than(Owner));
        for beside in [Member, Viewer] {
            assert!(!Auditor.is_no_higher_than(beside) && !beside.is_no_higher_than(Auditor));
        }
        assert!(Viewer.is_no_higher_than(Member) && Member.is_no_higher_than(Admin));
        assert!(Admin.is_no_higher_than(Owner) && !Owner.is_no_higher_than(Admin));
    }
}
