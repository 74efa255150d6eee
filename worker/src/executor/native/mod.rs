//! Tools that are Rust functions compiled in.
//!
//! To add one, write an `async fn(Context, Input) -> Result<Output, CallError>` in a file of this
//! folder and add a line to [`Registry::built_in`]: with `add_pure` if a run changes nothing. Its schemas come from its types. A function
//! that computes for long does so on a thread of its own (`tokio::task::spawn_blocking`) and
//! bounds itself: only waiting can be interrupted.

mod echo;
mod json;
mod math;
mod text;
mod time;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    future::Future,
    sync::Arc,
};

use futures::future::BoxFuture;
use schemars::{JsonSchema, schema_for};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use toolroom_domain::{Clock, ErrorCategory, job::Progress};

use super::{
    error::{CallError, Error},
    journal::Level,
    schema::Schema,
};

/// What a native function is given of its surroundings.
#[derive(Clone)]
pub struct Context {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Whether it is a rehearsal.
    pub is_test: bool,
    /// Is cancelled when nobody wants the outcome any more. The function's future is dropped then;
    /// this is for work that it started elsewhere.
    pub cancel: CancellationToken,
    pub(super) told: mpsc::Sender<Word>,
}

/// What a function tells while it runs.
#[derive(Debug)]
pub(super) enum Word {
    Progress(Progress),
    Line {
        level: Level,
        source: &'static str,
        message: String,
    },
}

impl Context {
    /// Tells how far the run is. Reports that come faster than they are taken are left out.
    pub fn report(&self, progress: Progress) {
        // A full queue means that newer reports than this one are waiting already.
        let _ = self.told.try_send(Word::Progress(progress));
    }

    /// Writes a line, such as to `stdout`; waits while more is written than is taken.
    pub async fn line(&self, level: Level, source: &'static str, message: impl Into<String>) {
        let message = message.into();
        let line = Word::Line {
            level,
            source,
            message,
        };
        // Nobody takes it when the run has ended.
        let _ = self.told.send(line).await;
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("is_test", &self.is_test)
            .finish_non_exhaustive()
    }
}

type Run =
    Box<dyn Fn(Context, Value) -> BoxFuture<'static, Result<Value, CallError>> + Send + Sync>;

/// A native function with the schemas of what it takes and gives.
pub(super) struct Function {
    run: Run,
    input: Schema,
    pub(super) input_schema: Value,
    pub(super) output_schema: Value,
}

impl Function {
    /// Checks the input against the function's own schema and runs it.
    pub(super) async fn call(&self, context: Context, input: Value) -> Result<Value, CallError> {
        if let Err(found) = self.input.check(&input) {
            let message = "the native function does not take this input; see `details`";
            return Err(CallError::invalid(message).with_violations(&found));
        }
        (self.run)(context, input).await
    }
}

/// The native functions, by path.
#[derive(Default)]
pub struct Registry {
    functions: HashMap<&'static str, Arc<Function>>,
    /// The paths of those whose runs change nothing outside of them.
    pure: HashSet<&'static str>,
}

impl Registry {
    /// The functions that come with Toolroom.
    ///
    /// # Errors
    /// When two have one path, or the schema of one does not compile.
    pub fn built_in() -> Result<Self, Error> {
        let mut all = Self::default();
        all.add_pure(&["echo"], echo::echo)?;
        all.add_pure(&["json.query"], json::query)?;
        all.add_pure(&["math.evaluate"], math::evaluate)?;
        all.add_pure(&["text.format", "app.tools.text.format_text"], text::format)?;
        all.add_pure(&["time.now"], time::now)?;
        Ok(all)
    }

    /// Adds a function under its paths: the first is its own, the others are aliases.
    ///
    /// # Errors
    /// When a path is taken, or the input's schema does not compile.
    pub fn add<I, O, F, Fut>(&mut self, paths: &[&'static str], function: F) -> Result<(), Error>
    where
        I: DeserializeOwned + JsonSchema,
        O: Serialize + JsonSchema,
        F: Fn(Context, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, CallError>> + Send + 'static,
    {
        let input_schema = schema_for!(I).to_value();
        let input = Schema::compile(&input_schema).map_err(|found| Error::NativeSchema {
            path: paths.first().copied().unwrap_or_default().to_owned(),
            problem: found
                .into_iter()
                .map(|v| v.message)
                .collect::<Vec<_>>()
                .join("; "),
        })?;
        let run: Run = Box::new(move |context, input| {
            // The deserialiser's messages repeat values; the schema has told what can be told.
            let running = serde_json::from_value::<I>(input)
                .map(|input| function(context, input))
                .map_err(|_| CallError::invalid("the native function does not take this input"));
            Box::pin(async move {
                let output = running?.await?;
                serde_json::to_value(output).map_err(|_| {
                    let problem = "the native function gave something that is not JSON";
                    CallError::failed(ErrorCategory::Unknown, problem)
                })
            })
        });
        let function = Arc::new(Function {
            run,
            input,
            input_schema,
            output_schema: schema_for!(O).to_value(),
        });
        for path in paths {
            if self.functions.insert(path, Arc::clone(&function)).is_some() {
                let path = (*path).to_owned();
                return Err(Error::DuplicateNative { path });
            }
        }
        Ok(())
    }

    /// Adds a function that changes nothing outside of its run: one that is run and lost with its
    /// node, and then run again, does no harm. It is run before its start is on record.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_pure<I, O, F, Fut>(
        &mut self,
        paths: &[&'static str],
        function: F,
    ) -> Result<(), Error>
    where
        I: DeserializeOwned + JsonSchema,
        O: Serialize + JsonSchema,
        F: Fn(Context, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, CallError>> + Send + 'static,
    {
        self.add(paths, function)?;
        self.pure.extend(paths);
        Ok(())
    }

    pub(super) fn find(&self, path: &str) -> Option<&Arc<Function>> {
        self.functions.get(path)
    }

    pub(super) fn is_pure(&self, path: &str) -> bool {
        self.pure.contains(path)
    }

    /// The known paths, in order.
    pub fn paths(&self) -> Vec<&'static str> {
        let mut paths: Vec<_> = self.functions.keys().copied().collect();
        paths.sort_unstable();
        paths
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.paths()).finish()
    }
}
