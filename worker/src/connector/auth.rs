//! How requests authenticate.

mod service_account;
mod standard_webhooks;

use std::{collections::HashMap, fmt, sync::Arc};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use reqwest::header::AUTHORIZATION;
use serde_json::{Map, Value};
use toolroom_domain::Clock;

use self::{service_account::GoogleServiceAccount, standard_webhooks::StandardWebhooks};
use super::{
    compiled::Connector,
    fill::{Filler, faulty},
    request::sensitive,
};
use crate::executor::{
    error::CallError,
    http::{Outgoing, Wire, header_name},
    secrets::Secrets,
};

/// What an authentication method has around it.
pub(crate) struct Around<'a, 'w> {
    /// The methods that there are.
    pub(crate) methods: &'a Methods,
    /// Through which it may call the outside. In a rehearsal there is none: then a method that
    /// would call adds what its result would look like, with `***` in the secret's place.
    #[allow(dead_code, reason = "for methods that fetch a token")]
    pub(crate) wire: Option<&'a Wire<'w>>,
    /// The present moment.
    pub(crate) clock: &'a dyn Clock,
    /// What must not be told. A method adds what it makes of a secret.
    pub(crate) secrets: &'a mut Secrets,
}

/// A way to authenticate a request. Its parameters are those of the file, filled in.
#[async_trait]
pub(crate) trait Method: Send + Sync {
    /// Adds the credentials to a request that is otherwise complete: a method may sign it.
    async fn apply(
        &self,
        parameters: &Parameters,
        outgoing: &mut Outgoing,
        around: &mut Around<'_, '_>,
    ) -> Result<(), CallError>;
}

/// What the file says of a method, filled in.
pub(crate) struct Parameters(Map<String, Value>);

impl Parameters {
    /// A parameter as text.
    ///
    /// # Errors
    /// When the credentials make nothing of it.
    pub(crate) fn text(&self, name: &str) -> Result<String, CallError> {
        match self.0.get(name) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            Some(Value::Null) | None | Some(Value::String(_)) => {
                Err(faulty(&format!("auth.{name}"), "comes to nothing"))
            }
            Some(other) => Ok(other.to_string()),
        }
    }

    /// A parameter as text; empty where the credentials make nothing of it.
    pub(crate) fn text_or_empty(&self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    /// A parameter as it is; none where it is left out or null.
    #[allow(dead_code, reason = "for methods that take more than texts")]
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }
}

/// The methods that there are, by name.
pub(crate) struct Methods(HashMap<&'static str, Arc<dyn Method>>);

impl Methods {
    /// All of them.
    pub(crate) fn built_in() -> Self {
        let mut methods: HashMap<&'static str, Arc<dyn Method>> = HashMap::new();
        methods.insert("none", Arc::new(Nothing));
        methods.insert("bearer", Arc::new(Bearer));
        methods.insert("basic", Arc::new(Basic));
        methods.insert("api_key_header", Arc::new(KeyInHeader));
        methods.insert("api_key_query", Arc::new(KeyInQuery));
        methods.insert(
            "google_service_account",
            Arc::new(GoogleServiceAccount::default()),
        );
        methods.insert("standard_webhooks", Arc::new(StandardWebhooks));
        Self(methods)
    }

    /// Whether there is a method of a name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Applies each authentication of a connector that holds for these credentials.
pub(super) async fn apply(
    connector: &Connector,
    filler: &Filler<'_>,
    outgoing: &mut Outgoing,
    around: &mut Around<'_, '_>,
) -> Result<(), CallError> {
    for (i, auth) in connector.file.auth.as_slice().iter().enumerate() {
        let place = format!("auth.{i}");
        if !filler.holds(&format!("{place}.when"), auth.when.as_deref())? {
            continue;
        }
        let mut parameters = Map::new();
        for (name, source) in &auth.parameters {
            let filled = filler.json(&format!("{place}.{name}"), source)?;
            parameters.insert(name.clone(), filled);
        }
        let method = around.methods.0.get(auth.method.as_str()).cloned();
        let method = method.ok_or_else(|| faulty(&place, "names a method that there is not"))?;
        method
            .apply(&Parameters(parameters), outgoing, around)
            .await?;
    }
    Ok(())
}

struct Nothing;

#[async_trait]
impl Method for Nothing {
    async fn apply(
        &self,
        _: &Parameters,
        _: &mut Outgoing,
        _: &mut Around<'_, '_>,
    ) -> Result<(), CallError> {
        Ok(())
    }
}

struct Bearer;

#[async_trait]
impl Method for Bearer {
    async fn apply(
        &self,
        parameters: &Parameters,
        outgoing: &mut Outgoing,
        _: &mut Around<'_, '_>,
    ) -> Result<(), CallError> {
        let value = sensitive(&format!("Bearer {}", parameters.text("token")?))?;
        outgoing.headers.insert(AUTHORIZATION, value);
        Ok(())
    }
}

struct Basic;

#[async_trait]
impl Method for Basic {
    async fn apply(
        &self,
        parameters: &Parameters,
        outgoing: &mut Outgoing,
        around: &mut Around<'_, '_>,
    ) -> Result<(), CallError> {
        let name = parameters.text("username")?;
        // Services that take a key as the user's name take any password.
        let password = parameters.text_or_empty("password");
        if name.contains(':') {
            return Err(faulty("auth.username", "must not give a `:`"));
        }
        let pair = BASE64.encode(format!("{name}:{password}"));
        outgoing
            .headers
            .insert(AUTHORIZATION, sensitive(&format!("Basic {pair}"))?);
        around.secrets.also(pair);
        Ok(())
    }
}

struct KeyInHeader;

#[async_trait]
impl Method for KeyInHeader {
    async fn apply(
        &self,
        parameters: &Parameters,
        outgoing: &mut Outgoing,
        _: &mut Around<'_, '_>,
    ) -> Result<(), CallError> {
        let name = header_name(&parameters.text("name")?)
            .ok_or_else(|| faulty("auth.name", "is not a header that may be set"))?;
        let value = sensitive(&parameters.text("value")?)?;
        outgoing.headers.insert(name, value);
        Ok(())
    }
}

struct KeyInQuery;

#[async_trait]
impl Method for KeyInQuery {
    async fn apply(
        &self,
        parameters: &Parameters,
        outgoing: &mut Outgoing,
        _: &mut Around<'_, '_>,
    ) -> Result<(), CallError> {
        let (name, value) = (parameters.text("name")?, parameters.text("value")?);
        outgoing.url.query_pairs_mut().append_pair(&name, &value);
        Ok(())
    }
}
