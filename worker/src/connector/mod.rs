//! Connectors: services described by data, one file of `connectors/` each.
//!
//! A file is checked against `connectors/schema.json` and looked through when the server starts
//! ([`Connectors`]). A call of an action picks the request that fits the tool's credentials, fills
//! its templates in, sends it as the executor sends everything, judges the answer by the file's
//! `errors`, and maps it (`Engine`). What cannot be said in data is named by a file and done in
//! code: a way to authenticate (`auth`), another protocol (`handler`).

mod answer;
pub(crate) mod auth;
mod body;
pub mod check;
mod compiled;
mod credentials;
mod email;
mod engine;
mod fill;
mod format;
pub(crate) mod handler;
mod lint;
mod request;
mod run;
mod source;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vendors;

use std::{fs, path::Path, sync::Arc};

use toolroom_domain::{Violation, connector::ConnectorSpec};

use self::{auth::Methods, compiled::Connector, handler::Handlers};
pub(crate) use self::{
    credentials::learn,
    engine::{Engine, Surroundings, Wanted},
};
pub use self::{source::LoadError, source::SCHEMA};
use crate::executor::rest::Templates;

/// The files of `connectors/`, by name.
const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/connectors.rs"));
/// Files of an operator's folder; thousands would be a mistake.
const FILES: usize = 1_000;

/// How often a service may be called with one tool's credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// This many calls
    pub requests: u32,
    /// in this many seconds.
    pub window_s: u32,
}

/// All connectors of this server.
#[derive(Debug)]
pub struct Connectors {
    /// By type.
    all: Vec<Connector>,
    specs: Vec<Arc<ConnectorSpec>>,
    methods: Methods,
    handlers: Handlers,
}

impl Connectors {
    /// Those that come with Toolroom.
    ///
    /// # Errors
    /// When one of them is faulty, which tests rule out.
    pub fn built_in() -> Result<Self, LoadError> {
        Self::load(None)
    }

    /// Those that come with Toolroom, and those of a folder: its files `*.yaml`.
    ///
    /// # Errors
    /// All that is wrong with the first faulty file; two files of one type; a folder that cannot be
    /// read.
    pub fn load(folder: Option<&Path>) -> Result<Self, LoadError> {
        let mut files: Vec<(String, String)> = EMBEDDED
            .iter()
            .map(|(name, text)| (format!("connectors/{name}"), (*text).to_owned()))
            .collect();
        if let Some(folder) = folder {
            files.extend(read_folder(folder)?);
        }
        Self::of(&files)
    }

    /// Those of these files, given as names and texts.
    fn of(files: &[(String, String)]) -> Result<Self, LoadError> {
        let (methods, handlers) = (Methods::built_in(), Handlers::built_in());
        let templates = Templates::new();
        let mut all: Vec<Connector> = Vec::with_capacity(files.len());
        for (name, text) in files {
            let faulty = |found: Vec<Violation>| LoadError::Faulty {
                file: name.clone(),
                found,
            };
            let file = source::parse(text).map_err(faulty)?;
            if let Some(other) = all.iter().find(|c| c.file.kind == file.kind) {
                return Err(LoadError::Duplicate {
                    file: name.clone(),
                    other: other.origin.clone(),
                    kind: file.kind,
                });
            }
            let connector = Connector::compile(file, name, &templates, &methods, &handlers);
            all.push(connector.map_err(faulty)?);
        }
        all.sort_by(|a, b| a.file.kind.cmp(&b.file.kind));
        Ok(Self {
            specs: all.iter().map(|c| Arc::clone(&c.spec)).collect(),
            all,
            methods,
            handlers,
        })
    }

    /// What edges show of them, by type.
    pub fn specs(&self) -> &[Arc<ConnectorSpec>] {
        &self.specs
    }

    /// How often the service of a type may be called, if its file says so.
    pub fn rate_limit(&self, kind: &str) -> Option<RateLimit> {
        let limit = self.find(kind)?.file.rate_limit.as_ref()?;
        Some(RateLimit {
            requests: limit.requests,
            window_s: limit.window_s,
        })
    }

    /// From which file the connector of a type came, and the document that it follows.
    pub fn origin(&self, kind: &str) -> Option<(&str, Option<&str>)> {
        let connector = self.find(kind)?;
        let documentation = connector.file.documentation.as_deref();
        Some((&connector.origin, documentation))
    }

    fn find(&self, kind: &str) -> Option<&Connector> {
        let mut all = self.all.iter();
        all.find(|connector| connector.file.kind.eq_ignore_ascii_case(kind))
    }
}

fn read_folder(folder: &Path) -> Result<Vec<(String, String)>, LoadError> {
    let unreadable = |path: &Path, source| LoadError::Read {
        path: path.display().to_string(),
        source,
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| unreadable(folder, e))? {
        let path = entry.map_err(|e| unreadable(folder, e))?.path();
        if path.extension().is_some_and(|end| end == "yaml") {
            paths.push(path);
        }
    }
    if paths.len() > FILES {
        let problem = format!("has more than {FILES} files *.yaml");
        return Err(LoadError::Faulty {
            file: folder.display().to_string(),
            found: vec![Violation::new("", problem)],
        });
    }
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).map_err(|e| unreadable(path, e))?;
        Ok((path.display().to_string(), text))
    };
    paths.iter().map(read).collect()
}
