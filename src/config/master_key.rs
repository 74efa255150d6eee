//! Where the master key is, and the one that follows it.

use std::path::{Path, PathBuf};

use super::{
    SecretText,
    key::{self, Key},
    layers::Layers,
    value::{Setting, quoted},
};

/// Where a master key is.
#[derive(Clone, Debug)]
pub enum MasterKeySource {
    /// In the configuration.
    Text(SecretText),
    /// In a file, which the first start makes.
    File(PathBuf),
    /// A program prints it.
    Command(CommandLine),
}

/// A program and its arguments. No shell reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The program: a path, or a name that is looked for in `PATH`.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl CommandLine {
    fn of(words: Vec<String>) -> Option<Self> {
        let mut words = words.into_iter();
        let program = words.next().filter(|program| !program.is_empty())?;
        Some(Self {
            program,
            arguments: words.collect(),
        })
    }
}

impl Setting for CommandLine {
    const EXPECTED: &'static str =
        "a program with its arguments, such as [\"fetch-key\", \"--name\", \"toolroom\"]";

    /// In words as a shell splits them, of which none is expanded.
    fn from_text(text: &str) -> Option<Self> {
        Self::of(shlex::split(text)?)
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        match value {
            toml::Value::Array(words) => {
                let words = words.iter().map(|word| word.as_str().map(str::to_owned));
                Self::of(words.collect::<Option<_>>()?)
            }
            single => Self::from_text(single.as_str()?),
        }
    }

    fn to_toml(&self) -> String {
        let words: Vec<_> = std::iter::once(&self.program)
            .chain(&self.arguments)
            .map(quoted)
            .collect();
        format!("[{}]", words.join(", "))
    }
}

/// The keys of the configuration that name one master key.
struct Names {
    text: &'static Key,
    file: &'static Key,
    command: &'static Key,
}

const CURRENT: Names = Names {
    text: &key::MASTER_KEY,
    file: &key::MASTER_KEY_FILE,
    command: &key::MASTER_KEY_COMMAND,
};

const NEXT: Names = Names {
    text: &key::NEXT_MASTER_KEY,
    file: &key::NEXT_MASTER_KEY_FILE,
    command: &key::NEXT_MASTER_KEY_COMMAND,
};

/// The master key, and the one that follows it.
pub(super) fn take(
    layers: &mut Layers,
    data_dir: &Path,
) -> (MasterKeySource, Option<MasterKeySource>) {
    let beside_data = data_dir.join("master.key");
    let current = take_one(layers, &CURRENT, Some(beside_data))
        .unwrap_or_else(|| MasterKeySource::File(data_dir.join("master.key")));
    let beside_current = match &current {
        MasterKeySource::File(path) => {
            let mut name = path.as_os_str().to_owned();
            name.push(".next");
            Some(PathBuf::from(name))
        }
        MasterKeySource::Text(_) | MasterKeySource::Command(_) => None,
    };
    let next = take_one(layers, &NEXT, beside_current);
    (current, next)
}

/// One of the three, or the file by default.
fn take_one(
    layers: &mut Layers,
    names: &Names,
    default: Option<PathBuf>,
) -> Option<MasterKeySource> {
    let text: Option<SecretText> = layers.optional_of(names.text, "32 bytes in base64");
    let command: Option<CommandLine> = layers.optional(names.command);
    let is_default = text.is_none() && command.is_none();
    let file: Option<PathBuf> = match default {
        Some(default) if is_default => Some(layers.required(names.file, default)),
        _ => layers.optional(names.file),
    };
    let given = [
        text.map(|text| (names.text, MasterKeySource::Text(text))),
        file.map(|file| (names.file, MasterKeySource::File(file))),
        command.map(|command| (names.command, MasterKeySource::Command(command))),
    ];
    let mut given = given.into_iter().flatten();
    let first = given.next();
    if let (Some((one, _)), Some((other, _))) = (&first, given.next()) {
        layers.fault(format!(
            "`{}` and `{}` are both set: remove one",
            one.name, other.name
        ));
    }
    first.map(|(_, source)| source)
}
