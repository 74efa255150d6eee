//! How the server meets the network: TLS, pages of other origins, proxies in front.

use std::path::PathBuf;

use toolroom_api::http::{AllowedOrigin, Cors, ForwardedBy, Network, Proxies};

use super::{
    key,
    layers::Layers,
    value::{Setting, quoted},
};

/// How the server meets the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    /// What TLS is served with; plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// Which web pages of other origins may call.
    pub cors: Cors,
    /// Which proxies may say for whom they speak.
    pub proxies: Proxies,
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, with those between it and the root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Edge {
    /// Takes the keys of this part out of the layers.
    pub fn take(layers: &mut Layers) -> Self {
        let tls = match (
            layers.optional(&key::TLS_CERTIFICATE),
            layers.optional(&key::TLS_KEY),
        ) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (certificate, _) => {
                let (given, missing) = match certificate {
                    Some(_) => (key::TLS_CERTIFICATE.name, key::TLS_KEY.name),
                    None => (key::TLS_KEY.name, key::TLS_CERTIFICATE.name),
                };
                layers.fault(format!(
                    "`{given}` is set without `{missing}`: TLS needs a certificate and its key"
                ));
                None
            }
        };
        let cors = Cors {
            origins: layers.required(&key::CORS_ORIGINS, Vec::new()),
            cookies: layers.required(&key::CORS_COOKIES, false),
        };
        if cors.is_open() && cors.origins.len() > 1 {
            layers.fault("`cors.origins`: \"*\" stands alone, or not at all".to_owned());
        }
        if cors.is_open() && cors.cookies {
            layers.fault(
                "`cors.cookies` with \"*\" in `cors.origins` would let every web page act for whoever is signed in: name the origins"
                    .to_owned(),
            );
        }
        let proxies = Proxies {
            trusted: layers.required(&key::PROXIES_TRUSTED, Vec::new()),
            header: layers.required(&key::PROXIES_HEADER, ForwardedBy::default()),
        };
        Self { tls, cors, proxies }
    }

    /// How the server's own addresses begin.
    pub fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }
}

impl Setting for AllowedOrigin {
    const EXPECTED: &'static str =
        "origins such as [\"https://app.example.org\", \"http://localhost:3000\"], or \"*\"";

    fn from_text(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

impl Setting for Network {
    const EXPECTED: &'static str = "addresses or networks, such as [\"10.0.0.0/8\", \"::1\"]";

    fn from_text(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

impl Setting for ForwardedBy {
    const EXPECTED: &'static str = "\"x-forwarded-for\" or \"forwarded\"";

    fn from_text(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "x-forwarded-for" => Some(Self::XForwarded),
            "forwarded" => Some(Self::Forwarded),
            _ => None,
        }
    }

    fn to_toml(&self) -> String {
        quoted(match self {
            Self::XForwarded => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Config,
        tests::{environment, faults},
    };

    #[test]
    fn the_edge_is_closed_and_plain_unless_told_otherwise() {
        let (config, _) = Config::load(environment(&[])).unwrap();
        assert_eq!(config.edge, super::Edge::default());
        assert_eq!(config.edge.scheme(), "http");
    }

    #[test]
    fn all_of_the_edge_can_be_set() {
        let (config, shown) = Config::load(environment(&[
            ("TOOLROOM_TLS_CERTIFICATE", "/c.pem"),
            ("TOOLROOM_TLS_KEY", "/k.pem"),
            (
                "TOOLROOM_CORS_ORIGINS",
                "https://app.example.org, http://localhost:3000",
            ),
            ("TOOLROOM_CORS_COOKIES", "true"),
            ("TOOLROOM_PROXIES_TRUSTED", "10.0.0.0/8, ::1"),
            ("TOOLROOM_PROXIES_HEADER", "Forwarded"),
        ]))
        .unwrap();
        assert_eq!(config.edge.scheme(), "https");
        let value = |key| {
            let found = shown.iter().find(|shown| shown.key == key).unwrap();
            found.value.clone().unwrap()
        };
        assert_eq!(value("tls.key"), "\"/k.pem\"");
        assert_eq!(
            value("cors.origins"),
            "[\"https://app.example.org\", \"http://localhost:3000\"]"
        );
        assert_eq!(value("cors.cookies"), "true");
        assert_eq!(value("proxies.trusted"), "[\"10.0.0.0/8\", \"::1/128\"]");
        assert_eq!(value("proxies.header"), "\"forwarded\"");
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        let half = faults(environment(&[("TOOLROOM_TLS_KEY", "/k.pem")]));
        assert!(
            half.contains("`tls.key` is set without `tls.certificate`"),
            "{half}"
        );
        let open = faults(environment(&[
            ("TOOLROOM_CORS_ORIGINS", "*,https://app.example.org"),
            ("TOOLROOM_CORS_COOKIES", "true"),
        ]));
        assert!(
            open.contains("stands alone") && open.contains("name the origins"),
            "{open}"
        );
        let odd = faults(environment(&[
            ("TOOLROOM_CORS_ORIGINS", "https://app.example.org/path"),
            ("TOOLROOM_PROXIES_TRUSTED", "proxy.internal"),
            ("TOOLROOM_CORS_COOKIES", "maybe"),
        ]));
        for key in ["`cors.origins`", "`proxies.trusted`", "`cors.cookies`"] {
            assert!(odd.contains(key), "{odd}");
        }
    }
}
