//! How large things may be. Each bound is far above honest use and far below what hurts a neighbour.

/// Characters in a tool's name; 64 is what model vendors accept as a function's name.
pub const NAME_CHARS: usize = 64;
/// Characters in a title, a category or a tag.
pub const LABEL_CHARS: usize = 200;
/// Characters in a description: a page, more than a model should be shown of one tool.
pub const DESCRIPTION_CHARS: usize = 10_000;
/// Tags on one tool.
pub const TAGS: usize = 50;
/// Bytes of one JSON Schema or one tool definition, serialised.
pub const DEFINITION_BYTES: usize = 256 * 1024;
/// Bytes of a job's input, output or error details, serialised: a document, a picture, a page of a
/// large table. Above it, what is meant belongs in a store of its own, and its address in the job.
pub const JOB_VALUE_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of such a value that is kept in its event. A larger one lies beside the log, so that whoever
/// follows the log reads its address alone.
pub const INLINE_BYTES: usize = 64 * 1024;
/// Values within one JSON text: as many as 2 MiB can hold at the least. In memory each costs some
/// hundred bytes, whatever it costs in the text.
pub const JSON_VALUES: usize = 1_000_000;
/// Nesting of any JSON that a client sends; serde_json itself stops at 128.
pub const JSON_DEPTH: usize = 64;
/// Characters in a reason, a step or another short remark on a job.
pub const REMARK_CHARS: usize = 2_000;
/// Versions of one tool. They are all kept runnable, so they are all loaded with the tool.
pub const TOOL_VERSIONS: u32 = 10_000;
/// Characters of a client's command id.
pub const COMMAND_ID_CHARS: usize = 128;
/// How far a job's priority may lie from 0, either way: some dozens of ranks, and a number that says
/// what it means beside others.
pub const JOB_PRIORITY: i32 = 100;
/// How far ahead a job may be put off, in hours: a year and a day. What lies further off is a slip in
/// the date more often than a plan.
pub const JOB_AHEAD_HOURS: i64 = 366 * 24;
/// How often one job may be started: first run, retries and takeovers from dead nodes together.
pub const JOB_ATTEMPTS: u32 = 100;
/// How often a job whose node vanished is handed to another before it is given up: an input that
/// kills each node that runs it must not travel round the fleet for ever.
pub const JOB_TAKEOVERS: u32 = 5;
/// Lines that are kept of one job: more than anybody reads, and little enough to be loaded with it.
pub const JOB_LINES: usize = 10_000;
/// Bytes of one job's lines: some 200 for each.
pub const JOB_LINES_BYTES: usize = 2 * 1024 * 1024;
/// The longest time a run may take, in milliseconds.
pub const TIMEOUT_MAX_MS: u64 = 3_600_000;
/// Characters in a user's id; OpenID Connect allows a subject 255.
pub const USER_ID_CHARS: usize = 255;
/// Characters in an address of mail: what SMTP can carry.
pub const EMAIL_CHARS: usize = 254;
/// Members of one workspace and open invitations together. They are all loaded with it.
pub const WORKSPACE_MEMBERS: usize = 1_000;
/// For how many hours an invitation may be open: 30 days. A link that lies in a mailbox longer is
/// forgotten by everybody but whoever finds it.
pub const INVITATION_HOURS: i64 = 30 * 24;
/// Characters in a secret's name.
pub const SECRET_NAME_CHARS: usize = 128;
/// Bytes of a secret's value: a private key with its chain, or a service account's file, many times.
pub const SECRET_BYTES: usize = 64 * 1024;
/// Secrets of one workspace: more than it has services to reach.
pub const SECRETS: i64 = 1_000;
/// Events that tell of refusals in one workspace and hour; the rest of that hour is a number. Enough
/// to see who tries what, and a log cannot be filled by whoever may do nothing.
pub const DENIALS_PER_HOUR: u32 = 100;
