//! Who may reach the server, and how they are known.

use std::path::PathBuf;
use std::time::Duration;

use toolroom_api::auth::jwt::SharedSecret;
use toolroom_domain::UserId;
use url::{Host, Url};

use super::{SecretText, key, layers::Layers, value::Setting, whole};

/// Clocks of well-kept machines differ by less than a second; half a minute forgives the others.
const DEFAULT_LEEWAY_S: u64 = 30;

/// Who may reach the server, and how they are known.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Whether callers must show a credential. Where they need not, whoever reaches the server owns
    /// it.
    pub required: bool,
    /// Users who run the server.
    pub operators: Vec<UserId>,
    /// Where the first key is taken from, or written to; without it, it is printed.
    pub first_key_file: Option<PathBuf>,
    /// Whose tokens count.
    pub tokens: Option<Tokens>,
}

/// Whose tokens count, and how they are checked.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The `iss` of the tokens.
    pub issuer: String,
    /// The audiences of which `aud` must hold one.
    pub audience: Vec<String>,
    /// The secret of HS256.
    pub secret: Option<SharedSecret>,
    /// Where the provider's public keys are.
    pub jwks_url: Option<Url>,
    /// By how much clocks may differ.
    pub leeway: Duration,
}

impl Setting for UserId {
    const EXPECTED: &'static str = "ids of users, as `sub` in their tokens has them";

    fn from_text(text: &str) -> Option<Self> {
        Self::try_new(text.trim()).ok()
    }

    fn to_toml(&self) -> String {
        self.as_str().to_owned().to_toml()
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &str) -> Option<Self> {
        match text.trim() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_bool()
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

impl Auth {
    /// Whether the configuration speaks of people who have tokens, although nobody is asked for one.
    pub fn is_idle(&self) -> bool {
        !self.required && (self.tokens.is_some() || !self.operators.is_empty())
    }

    /// Takes the section out of the layers. `exposed` says that other machines reach the server,
    /// `shared` that its database is not its own.
    pub(super) fn take(layers: &mut Layers, exposed: bool, shared: bool) -> Self {
        let required = layers.required(&key::AUTH_REQUIRED, exposed || shared);
        let operators: Vec<UserId> = layers.required(&key::AUTH_OPERATORS, Vec::new());
        let tokens = Tokens::take(layers, !operators.is_empty());
        if exposed && !required {
            layers.fault(
                "`auth.required` is false, and `listen` names an address that other machines reach: whoever reached it would own the server"
                    .to_owned(),
            );
        }
        Self {
            required,
            operators,
            first_key_file: layers.optional(&key::AUTH_FIRST_KEY_FILE),
            tokens,
        }
    }
}

impl Tokens {
    /// Takes what concerns tokens out of the layers. `operators` says that some users run the server,
    /// who can be known by nothing else.
    fn take(layers: &mut Layers, operators: bool) -> Option<Self> {
        let issuer: Option<String> = layers.optional(&key::AUTH_ISSUER);
        let audience: Vec<String> = layers.required(&key::AUTH_AUDIENCE, Vec::new());
        let secret: Option<SecretText> =
            layers.optional_of(&key::AUTH_SECRET, "the secret that tokens are signed with");
        let jwks_url: Option<Url> = layers.optional(&key::AUTH_JWKS_URL);
        let leeway = whole::<0, 300>(layers, &key::AUTH_LEEWAY_S, DEFAULT_LEEWAY_S);
        let secret = secret.and_then(|secret| {
            SharedSecret::try_new(secret.expose().as_bytes())
                .map_err(|error| layers.fault(format!("`auth.secret`: {error}")))
                .ok()
        });
        if let Some(url) = jwks_url.as_ref().filter(|url| !is_private(url)) {
            layers.fault(format!(
                "`auth.jwks_url`: {url} is plain http to another machine: whoever is on the way could sign tokens for anybody; name it with https://"
            ));
        }
        let Some(issuer) = issuer else {
            if operators {
                layers.fault(
                    "`auth.operators` is set without `auth.issuer`: they are known by the tokens of that issuer alone"
                        .to_owned(),
                );
            }
            if secret.is_some() || jwks_url.is_some() || !audience.is_empty() {
                layers.fault(
                    "`auth.issuer` is missing: tokens count only of the issuer that is named"
                        .to_owned(),
                );
            }
            return None;
        };
        if audience.is_empty() {
            layers.fault(
                "`auth.audience` is missing: without it tokens that were made for others would count"
                    .to_owned(),
            );
        }
        if secret.is_none() && jwks_url.is_none() {
            layers.fault(
                "`auth.issuer` is set, but neither `auth.jwks_url` nor `auth.secret` to check its tokens with"
                    .to_owned(),
            );
        }
        Some(Self {
            issuer,
            audience,
            secret,
            jwks_url,
            leeway: Duration::from_secs(leeway),
        })
    }
}

/// Whether nobody can change on the way what is fetched from there.
fn is_private(url: &Url) -> bool {
    url.scheme() == "https"
        || match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
}
