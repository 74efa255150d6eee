//! Flags over the environment over the file over defaults, each value with where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::{
    key::{self, Key},
    value::Setting,
};

/// The configuration file is this long at the most, in bytes: a longer one is some other file.
const FILE_LIMIT: u64 = 1024 * 1024;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line, without its dashes.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(&'static str),
    /// The configuration file.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::File(path) => path.display().fmt(f),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Everything that is wrong with a configuration, one fault a line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is faulty:\n{}", .0.join("\n"))]
pub struct Faults(pub Vec<String>);

/// An effective value, for `config print`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The key's dotted name.
    pub key: &'static str,
    /// As TOML, a secret masked; none when it is not set.
    pub value: Option<String>,
    /// Where it came from.
    pub origin: Origin,
}

/// What the layers are made of; the environment is handed in so that tests can have their own.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Values of flags that were given, by the key they set.
    pub flags: Vec<(&'static Key, &'static str, Vec<String>)>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// The file that `--config` names.
    pub file: Option<PathBuf>,
    /// The file that is read if it is there and no other is named.
    pub default_file: PathBuf,
}

enum Raw {
    Text(String),
    Texts(Vec<String>),
    Toml(toml::Value),
}

/// The layers, read; values are taken out one by one, and what is wrong is gathered on the way.
pub struct Layers {
    values: BTreeMap<&'static str, (Raw, Origin)>,
    faults: Vec<String>,
    shown: Vec<Shown>,
}

impl Layers {
    /// Reads all sources.
    pub fn read(sources: Sources) -> Self {
        let mut layers = Self {
            values: BTreeMap::new(),
            faults: Vec::new(),
            shown: Vec::new(),
        };
        let named = sources.file.or_else(|| {
            sources
                .environment
                .get(key::FILE_VARIABLE)
                .map(PathBuf::from)
        });
        match named {
            Some(file) => layers.read_file(&file),
            None if sources.default_file.exists() => layers.read_file(&sources.default_file),
            None => {}
        }
        layers.read_environment(&sources.environment);
        for (key, flag, values) in sources.flags {
            layers
                .values
                .insert(key.name, (Raw::Texts(values), Origin::Flag(flag)));
        }
        layers
    }

    fn read_file(&mut self, file: &Path) {
        let read = std::fs::metadata(file).and_then(|found| {
            if found.len() > FILE_LIMIT {
                return Err(std::io::Error::other("it is too long for a configuration"));
            }
            std::fs::read_to_string(file)
        });
        let table = match read {
            Ok(text) => match text.parse::<toml::Table>() {
                Ok(table) => table,
                Err(error) => {
                    // The parser's own display quotes the line, which may hold a secret.
                    let line = error.span().map_or(1, |span| {
                        text[..span.start.min(text.len())].lines().count().max(1)
                    });
                    self.faults.push(format!(
                        "{}, line {line}: {}",
                        file.display(),
                        error.message()
                    ));
                    return;
                }
            },
            Err(error) => {
                self.faults
                    .push(format!("{} cannot be read: {error}", file.display()));
                return;
            }
        };
        self.take_table(file, "", table);
    }

    fn take_table(&mut self, file: &Path, prefix: &str, table: toml::Table) {
        for (name, value) in table {
            let dotted = format!("{prefix}{name}");
            let known = key::ALL.iter().find(|key| key.name == dotted);
            let section = format!("{dotted}.");
            match (known, value) {
                (Some(key), value) => {
                    let origin = Origin::File(file.to_path_buf());
                    self.values.insert(key.name, (Raw::Toml(value), origin));
                }
                (None, toml::Value::Table(inner))
                    if key::ALL.iter().any(|key| key.name.starts_with(&section)) =>
                {
                    self.take_table(file, &section, inner);
                }
                (None, _) => {
                    let known: Vec<_> = key::ALL.iter().map(|key| key.name).collect();
                    self.faults.push(format!(
                        "{}: there is no key `{dotted}`; the keys are {}",
                        file.display(),
                        known.join(", ")
                    ));
                }
            }
        }
    }

    fn read_environment(&mut self, environment: &BTreeMap<String, String>) {
        for key in key::ALL {
            let set = key
                .env
                .iter()
                .find_map(|name| Some((*name, environment.get(*name)?)));
            if let Some((name, value)) = set {
                let value = (Raw::Text(value.clone()), Origin::Variable(name));
                self.values.insert(key.name, value);
            }
        }
        for name in environment.keys() {
            if name.starts_with("TOOLROOM_") && !key::is_known_variable(name) {
                self.faults.push(format!(
                    "there is no variable `{name}`; `toolroom config print` shows the keys, whose variables are TOOLROOM_ and the key in capitals"
                ));
            }
        }
    }

    /// The value of a key, if it is set.
    pub fn optional<T: Setting>(&mut self, key: &'static Key) -> Option<T> {
        self.optional_of(key, T::EXPECTED)
    }

    /// As [`Self::optional`], with other words for what is expected.
    pub fn optional_of<T: Setting>(&mut self, key: &'static Key, expected: &str) -> Option<T> {
        let (value, origin) = match self.values.remove(key.name) {
            Some((raw, origin)) => {
                let value = match &raw {
                    Raw::Text(text) => T::from_text(text),
                    Raw::Texts(texts) => T::from_text(&texts.join(",")),
                    Raw::Toml(value) => T::from_toml(value),
                };
                if value.is_none() {
                    let found = match &raw {
                        _ if key.secret => String::new(),
                        Raw::Text(text) => format!(", found {text:?}"),
                        Raw::Texts(texts) => format!(", found {:?}", texts.join(",")),
                        Raw::Toml(value) => format!(", found {value}"),
                    };
                    self.faults.push(format!(
                        "`{}` (from {origin}): expected {expected}{found}",
                        key.name
                    ));
                }
                (value, origin)
            }
            None => (None, Origin::Default),
        };
        self.shown.push(Shown {
            key: key.name,
            value: value.as_ref().map(|value| match key.secret {
                true => "\"********\"".to_owned(),
                false => value.to_toml(),
            }),
            origin,
        });
        value
    }

    /// The value of a key, or what holds without one.
    pub fn required<T: Setting>(&mut self, key: &'static Key, default: T) -> T {
        self.required_of(key, default, T::EXPECTED)
    }

    /// As [`Self::required`], with other words for what is expected.
    pub fn required_of<T: Setting>(&mut self, key: &'static Key, default: T, expected: &str) -> T {
        let given = self.optional_of(key, expected);
        given.unwrap_or_else(|| {
            if let Some(shown) = self.shown.last_mut() {
                shown.value = Some(default.to_toml());
            }
            default
        })
    }

    /// Adds a fault that concerns several keys, or one value's meaning.
    pub fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// What was taken out.
    ///
    /// # Errors
    /// With everything that was wrong.
    pub fn finish(self) -> Result<Vec<Shown>, Faults> {
        if self.faults.is_empty() {
            Ok(self.shown)
        } else {
            Err(Faults(self.faults))
        }
    }
}
