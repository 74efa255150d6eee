//! What the command line lets itself in with, kept between calls: a file for its owner alone.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use toolroom_api::auth::api_key::ApiKey;
use toolroom_domain::WorkspaceId;

use super::client::ServerUrl;

/// The file's name in our folder of the user's configuration.
const FILE: &str = "credentials.toml";

/// Bytes that are read of the file: it holds a few lines a server.
const FILE_BYTES: u64 = 1024 * 1024;

/// Bytes of a credential: servers refuse longer tokens.
const CREDENTIAL_BYTES: usize = 8 * 1024;

/// The bits by which others than the owner may read or write.
const OPEN_TO_OTHERS: u32 = 0o077;

/// The bits by which others than the owner may put another file in a file's place.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// What lets somebody in: an API key, or a token of an identity provider. Shows itself nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Credential(String);

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// Why a text lets nobody in. The text is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCredential {
    /// It begins as a key does, and is none.
    #[error("this is not a whole API key: it is cut short, or a character is wrong")]
    DamagedKey,
    /// It is nothing of ours.
    #[error("expected an API key, tr_…, or a token of your identity provider")]
    Foreign,
}

impl TryFrom<String> for Credential {
    type Error = NoCredential;

    /// Looks only at the form, so that what was pasted by mistake is not sent anywhere.
    fn try_from(text: String) -> Result<Self, NoCredential> {
        if ApiKey::is_meant(&text) {
            ApiKey::parse(&text).map_err(|_| NoCredential::DamagedKey)?;
            return Ok(Self(text));
        }
        let parts = text.split('.').filter(|part| !part.is_empty()).count();
        let is_token = text.len() <= CREDENTIAL_BYTES
            && parts == 3
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        match is_token {
            true => Ok(Self(text)),
            false => Err(NoCredential::Foreign),
        }
    }
}

impl From<Credential> for String {
    fn from(credential: Credential) -> Self {
        credential.0
    }
}

impl Credential {
    /// Reads one from a file or a pipe, with the line's end that editors leave.
    ///
    /// # Errors
    /// When it cannot be read or is none.
    pub fn read(source: impl io::Read) -> anyhow::Result<Self> {
        let mut text = String::new();
        // One byte more shows that it is too long.
        let limit = CREDENTIAL_BYTES as u64 + 2;
        source.take(limit).read_to_string(&mut text)?;
        Ok(Self::try_from(text.trim().to_owned())?)
    }

    /// The text, for whoever sends or writes it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// What is known of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The server.
    #[serde(with = "as_text")]
    pub url: ServerUrl,
    /// What to show it; absent when only a workspace was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Credential>,
    /// The workspace that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceId>,
}

/// What is known of all servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The server that is meant when none is named.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "as_optional_text"
    )]
    default: Option<ServerUrl>,
    #[serde(default)]
    servers: Vec<Entry>,
}

impl Credentials {
    /// The server that is meant when none is named.
    pub fn default_server(&self) -> Option<&ServerUrl> {
        self.default.as_ref()
    }

    /// What is known of a server.
    pub fn of(&self, server: &ServerUrl) -> Option<&Entry> {
        self.servers.iter().find(|entry| entry.url == *server)
    }

    /// Keeps a key, in the place of an earlier one with the workspace that was chosen for that. The
    /// first server that is kept is the default until another is.
    pub fn keep_key(&mut self, server: &ServerUrl, key: Credential, as_default: bool) {
        let entry = self.entry(server);
        entry.key = Some(key);
        entry.workspace = None;
        if as_default || self.default.is_none() {
            self.default = Some(server.clone());
        }
    }

    /// Keeps the choice of a workspace, or forgets it.
    pub fn choose_workspace(&mut self, server: &ServerUrl, workspace: Option<WorkspaceId>) {
        self.entry(server).workspace = workspace;
        self.servers
            .retain(|entry| entry.key.is_some() || entry.workspace.is_some());
    }

    /// Forgets a server; says whether there was anything to forget.
    pub fn forget(&mut self, server: &ServerUrl) -> bool {
        let before = self.servers.len();
        self.servers.retain(|entry| entry.url != *server);
        if self.default.as_ref() == Some(server) {
            self.default = None;
        }
        self.servers.len() < before
    }

    fn entry(&mut self, server: &ServerUrl) -> &mut Entry {
        let known = self.servers.iter().position(|entry| entry.url == *server);
        let place = known.unwrap_or_else(|| {
            self.servers.push(Entry {
                url: server.clone(),
                key: None,
                workspace: None,
            });
            self.servers.len() - 1
        });
        &mut self.servers[place]
    }
}

/// Where credentials are kept.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// A store in a folder that need not be there yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The file itself.
    pub fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// What is kept; nothing if there is no file.
    ///
    /// # Errors
    /// When others may read or replace the file, or it is not as we write it.
    pub fn load(&self) -> anyhow::Result<Credentials> {
        let path = self.path();
        let unreadable = || format!("{} cannot be read", path.display());
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Credentials::default());
            }
            opened => opened.with_context(unreadable)?,
        };
        self.folder_must_be_own()?;
        // Of the open file: what is at the path may be another by now.
        let found = file.metadata().with_context(unreadable)?;
        if found.permissions().mode() & OPEN_TO_OTHERS != 0 {
            bail!(
                "{path} holds keys and is open to others: `chmod 600 {path}`, and revoke the keys if others use this machine",
                path = path.display()
            );
        }
        let mut text = String::new();
        file.take(FILE_BYTES)
            .read_to_string(&mut text)
            .with_context(unreadable)?;
        parse(&text).with_context(unreadable)
    }

    /// Replaces what is kept, at once and whole.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, credentials: &Credentials) -> anyhow::Result<()> {
        let path = self.path();
        let unwritable = || format!("{} cannot be written", path.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .with_context(unwritable)?;
        self.folder_must_be_own()?;
        let text = toml::to_string(credentials).with_context(unwritable)?;
        // Made with mode 0600, as temporary files are.
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).with_context(unwritable)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.as_file().sync_all())
            .with_context(unwritable)?;
        file.persist(&path).with_context(unwritable)?;
        Ok(())
    }

    fn folder_must_be_own(&self) -> anyhow::Result<()> {
        let folder = self.folder.display();
        let found =
            fs::metadata(&self.folder).with_context(|| format!("{folder} cannot be looked at"))?;
        if found.permissions().mode() & WRITABLE_BY_OTHERS != 0 {
            bail!("others may replace what is in {folder}: `chmod 700 {folder}`");
        }
        Ok(())
    }
}

fn parse(text: &str) -> anyhow::Result<Credentials> {
    toml::from_str(text).map_err(|error| {
        // The parser's own display quotes the line, which may hold a key.
        let until = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text[..until].lines().count().max(1);
        anyhow::anyhow!("line {line}: {}", error.message())
    })
}

/// Where the user's configuration is, as the XDG Base Directory Specification says; none when the
/// environment does not tell.
pub fn folder(xdg_config_home: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
    let absolute = |path: &&Path| path.is_absolute();
    let base = match xdg_config_home.filter(absolute) {
        Some(base) => base.to_path_buf(),
        None => home.filter(absolute)?.join(".config"),
    };
    Some(base.join("toolroom"))
}

/// A server's address in the file.
mod as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::ServerUrl;

    pub fn serialize<S: Serializer>(url: &ServerUrl, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(url)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ServerUrl, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// As [`as_text`], of what may be absent.
mod as_optional_text {
    use serde::{Deserializer, Serializer};

    use super::{ServerUrl, as_text};

    pub fn serialize<S: Serializer>(url: &Option<ServerUrl>, to: S) -> Result<S::Ok, S::Error> {
        match url {
            Some(url) => as_text::serialize(url, to),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ServerUrl>, D::Error> {
        as_text::deserialize(from).map(Some)
    }
}

#[cfg(test)]
mod tests;
