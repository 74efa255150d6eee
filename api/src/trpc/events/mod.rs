//! `events.*`: what shall run when. An event of this contract is a schedule.

pub(super) mod create;
