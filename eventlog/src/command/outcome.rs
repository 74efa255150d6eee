//! What becomes of a command.

/// An aggregate as it was loaded.
#[derive(Clone, Debug)]
pub struct Loaded<A> {
    /// Its state.
    pub aggregate: A,
    /// How many events it has.
    pub sequence: usize,
}

/// What became of a command.
#[derive(Clone, Debug)]
pub struct Executed<A> {
    /// The aggregate's id: of a repeated command, the one it had the first time.
    pub aggregate_id: String,
    /// The aggregate after the command; of a repeated command, as it is now.
    pub after: Loaded<A>,
    /// Where the command's last event is, to be waited for; none when it changed nothing.
    pub global_seq: Option<i64>,
    /// Whether this is the outcome of an earlier sending.
    pub repeated: bool,
}

/// Why a command had no effect.
#[derive(Debug, thiserror::Error)]
pub enum CommandError<E: std::error::Error> {
    /// The aggregate refuses it.
    #[error("{0}")]
    Refused(E),
    /// The workspace has no such aggregate.
    #[error("there is none of this id")]
    NotFound,
    /// Another aggregate holds a name that it would take.
    #[error("the name `{key}` is taken; choose another or rename the holder")]
    NameTaken {
        /// What kind of name.
        scope: &'static str,
        /// The name.
        key: String,
    },
    /// The workspace was erased: nothing is done in it any more.
    #[error("the workspace was erased; nothing can be kept or run in it any more")]
    Erased,
    /// The id was used for another request.
    #[error("this command id was used for another request; send a new id for a new request")]
    IdempotencyConflict,
    /// Too many others change the same aggregate.
    #[error("too many commands change the same object at once; try again in a moment")]
    Contended,
    /// The database is away; repeated under the same id the command has one outcome.
    #[error("the database is not available; try again in a moment")]
    Unavailable,
    /// A fault of ours.
    #[error("the command could not be carried out")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}
