//! Which server is meant, and as whom: what all commands that talk to one have in common.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::{Deserialize, Serialize};
use serde_json::json;
use toolroom_domain::{Role, WorkspaceId};

use super::{
    client::{Client, ServerUrl, Shown, Target},
    credentials::{self, Credential, Credentials, Store},
};
use crate::config::{API_KEY_VARIABLE, SERVER_VARIABLE};

/// Which server.
#[derive(clap::Args, Debug, Default)]
pub struct Place {
    /// The server [default: TOOLROOM_SERVER, else the default of `toolroom login`, else
    /// http://127.0.0.1:8000].
    #[arg(long, global = true, value_name = "URL")]
    server: Option<ServerUrl>,
    /// Send the key even where others on the way can read it.
    #[arg(long, global = true)]
    pub insecure: bool,
}

/// Which server, which workspace, and how to answer.
#[derive(clap::Args, Debug, Default)]
pub struct Remote {
    #[command(flatten)]
    place: Place,
    /// The workspace [default: that of `toolroom workspaces use`, else the key's own].
    #[arg(long, global = true, value_name = "ID")]
    workspace: Option<WorkspaceId>,
    /// Answer in JSON, for scripts.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What the environment says of it; a variable that is empty is not set.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    server: Option<String>,
    key: Option<String>,
    xdg_config_home: Option<PathBuf>,
    home: Option<PathBuf>,
}

impl Environment {
    /// That of the process.
    pub fn of_process() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            server: text(SERVER_VARIABLE),
            key: text(API_KEY_VARIABLE),
            xdg_config_home: std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from),
            home: std::env::var_os("HOME").map(PathBuf::from),
        }
    }

    /// The server that is named there.
    fn server(&self) -> anyhow::Result<Option<ServerUrl>> {
        let url = self.server.as_deref().map(str::parse).transpose();
        url.context(SERVER_VARIABLE)
    }

    /// The key that is there for this server. One that came together with a server is for no other.
    ///
    /// # Errors
    /// When the variables hold something else than a server and a key.
    pub fn key_for(&self, server: &ServerUrl) -> anyhow::Result<Option<Credential>> {
        if self.server()?.is_some_and(|named| named != *server) {
            return Ok(None);
        }
        let key = self.key.clone().map(Credential::try_from).transpose();
        key.context(API_KEY_VARIABLE)
    }

    /// Where credentials are kept.
    ///
    /// # Errors
    /// When the environment names no folder.
    pub fn store(&self) -> anyhow::Result<Store> {
        let folder = credentials::folder(self.xdg_config_home.as_deref(), self.home.as_deref());
        let folder =
            folder.context("there is no place to keep keys: set XDG_CONFIG_HOME or HOME")?;
        Ok(Store::new(folder))
    }

    /// What is kept; nothing where there is no place to keep it.
    fn credentials(&self) -> anyhow::Result<Credentials> {
        match self.store() {
            Ok(store) => store.load(),
            Err(_) => Ok(Credentials::default()),
        }
    }
}

impl Place {
    /// The server that is meant.
    ///
    /// # Errors
    /// When the environment names something else than a server.
    pub fn server(
        &self,
        environment: &Environment,
        credentials: &Credentials,
    ) -> anyhow::Result<ServerUrl> {
        if let Some(server) = &self.server {
            return Ok(server.clone());
        }
        if let Some(server) = environment.server()? {
            return Ok(server);
        }
        match credentials.default_server() {
            Some(server) => Ok(server.clone()),
            None => Ok(ServerUrl::local()?),
        }
    }
}

impl Remote {
    /// Whether it was said which server is meant, or how to reach it.
    pub fn names_a_server(&self) -> bool {
        self.place.server.is_some() || self.place.insecure || self.workspace.is_some()
    }

    /// The server that is meant, what to show it, and the workspace to select there.
    ///
    /// # Errors
    /// When the environment or the kept credentials are faulty.
    pub fn target(&self, environment: &Environment) -> anyhow::Result<Target> {
        self.target_among(environment, &environment.credentials()?)
    }

    fn target_among(
        &self,
        environment: &Environment,
        credentials: &Credentials,
    ) -> anyhow::Result<Target> {
        let server = self.place.server(environment, credentials)?;
        let kept = credentials.of(&server);
        let of_environment = environment.key_for(&server)?;
        let workspace = match &of_environment {
            // The choice was made with another key.
            Some(_) => None,
            None => kept.and_then(|entry| entry.workspace),
        };
        let of_environment = of_environment.map(|credential| Shown {
            credential,
            from: "from the variable TOOLROOM_API_KEY",
        });
        let kept = || {
            let credential = kept?.key.clone()?;
            Some(Shown {
                credential,
                from: "kept by `toolroom login`",
            })
        };
        Ok(Target {
            shown: of_environment.or_else(kept),
            workspace: self.workspace.or(workspace),
            insecure: self.place.insecure,
            server,
        })
    }

    /// A client of that server.
    ///
    /// # Errors
    /// As [`Self::target`], or when the key would be sent where others can read it.
    pub fn client(&self, environment: &Environment) -> anyhow::Result<Client> {
        Client::try_new(self.target(environment)?)
    }
}

const VIEWER: &str = "query Viewer {
  viewer { id email authenticatedBy role workspace { id name plan } }
}";

/// Who one is to the server.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Viewer {
    pub id: String,
    pub email: Option<String>,
    pub authenticated_by: String,
    pub role: String,
    pub workspace: ViewersWorkspace,
}

/// The workspace that is selected.
#[derive(Debug, Serialize, Deserialize)]
pub struct ViewersWorkspace {
    pub id: WorkspaceId,
    pub name: String,
    pub plan: String,
}

impl Viewer {
    /// Asks the server.
    ///
    /// # Errors
    /// When it cannot be reached, or knows nobody by this credential.
    pub async fn ask(client: &Client) -> anyhow::Result<Self> {
        client.ask(VIEWER, json!({})).await
    }
}

/// Reads a role as clients write it.
pub fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::as_str)).try_map(|text| {
        let mut all = Role::ALL.into_iter();
        all.find(|role| role.as_str().eq_ignore_ascii_case(&text))
            .ok_or("no role")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln";
    const OTHER: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJiIn0.c2ln";

    fn url(text: &str) -> ServerUrl {
        text.parse().unwrap()
    }

    fn at(server: Option<&str>) -> Remote {
        Remote {
            place: Place {
                server: server.map(url),
                insecure: false,
            },
            ..Remote::default()
        }
    }

    fn environment(server: Option<&str>, key: Option<&str>) -> Environment {
        Environment {
            server: server.map(str::to_owned),
            key: key.map(str::to_owned),
            ..Environment::default()
        }
    }

    fn kept() -> Credentials {
        let mut kept = Credentials::default();
        let credential = Credential::try_from(OTHER.to_owned()).unwrap();
        kept.keep_key(&url("https://kept.test"), credential, true);
        kept.choose_workspace(&url("https://kept.test"), Some(WorkspaceId::DEFAULT));
        kept
    }

    fn chosen(remote: &Remote, environment: &Environment, kept: &Credentials) -> Target {
        remote.target_among(environment, kept).unwrap()
    }

    #[test]
    fn a_flag_wins_over_the_variable_that_over_what_is_kept_and_that_over_this_machine() {
        let variable = environment(Some("https://variable.test"), None);
        let nothing = environment(None, None);
        let server = |remote: &Remote, environment: &Environment, kept: &Credentials| {
            chosen(remote, environment, kept).server.to_string()
        };
        let flag = at(Some("https://flag.test"));
        assert_eq!(server(&flag, &variable, &kept()), "https://flag.test");
        assert_eq!(
            server(&at(None), &variable, &kept()),
            "https://variable.test"
        );
        assert_eq!(server(&at(None), &nothing, &kept()), "https://kept.test");
        let none_kept = Credentials::default();
        let local = chosen(&at(None), &nothing, &none_kept);
        assert_eq!(local.server, ServerUrl::local().unwrap());
        assert!(local.shown.is_none() && local.workspace.is_none());
    }

    #[test]
    fn the_variables_key_goes_to_the_variables_server_only() {
        let shown = |remote: &Remote, environment: &Environment| {
            let target = chosen(remote, environment, &kept());
            target
                .shown
                .map(|shown| shown.credential.expose().to_owned())
        };
        let both = environment(Some("https://variable.test"), Some(TOKEN));
        assert_eq!(shown(&at(None), &both).as_deref(), Some(TOKEN));
        assert_eq!(shown(&at(Some("https://flag.test")), &both), None);
        assert_eq!(
            shown(&at(Some("https://kept.test")), &both).as_deref(),
            Some(OTHER)
        );
        let key_alone = environment(None, Some(TOKEN));
        assert_eq!(shown(&at(None), &key_alone).as_deref(), Some(TOKEN));
        let target = chosen(&at(None), &key_alone, &kept());
        assert_eq!(target.workspace, None, "it was chosen for the kept key");
    }

    #[test]
    fn what_is_kept_is_used_with_its_workspace() {
        let target = chosen(&at(None), &environment(None, None), &kept());
        assert_eq!(target.workspace, Some(WorkspaceId::DEFAULT));
        assert_eq!(target.shown.unwrap().credential.expose(), OTHER);
    }

    #[test]
    fn a_fault_of_the_environment_names_the_variable_and_not_its_value() {
        for (environment, name) in [
            (environment(Some("hunter2"), None), "TOOLROOM_SERVER"),
            (environment(None, Some("hunter2")), "TOOLROOM_API_KEY"),
        ] {
            let error = at(None).target_among(&environment, &kept()).unwrap_err();
            let error = format!("{error:#}");
            assert!(
                error.contains(name) && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
