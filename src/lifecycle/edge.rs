//! What the HTTP shell is told, from the configuration.

use anyhow::bail;
use toolroom_api::{HttpOptions, http::Tls};

use crate::config::Config;

/// Requests that are answered beside those that wait for a call, and connections that do not send any.
const BESIDE: usize = 1_024;

/// How connections and requests are treated. `is_local` says whether whoever reaches the server is
/// its owner.
///
/// # Errors
/// When the certificate cannot be used, or every web page would be the owner.
pub fn options(config: &Config, is_local: bool) -> anyhow::Result<HttpOptions> {
    let edge = &config.edge;
    if is_local && edge.cors.is_open() {
        bail!(
            "`cors.origins` is \"*\", and this server asks nobody for credentials: every web page that a browser on this machine opens could do everything; name the origins"
        );
    }
    let tls = match &edge.tls {
        None => None,
        Some(files) => Some(Tls::load(&files.certificate, &files.key)?),
    };
    let defaults = HttpOptions::default();
    Ok(HttpOptions {
        public_url: config.public_url.clone(),
        cors: edge.cors.clone(),
        proxies: edge.proxies.clone(),
        tls,
        max_body_bytes: config.limits.body_bytes,
        request_timeout: config.limits.request_timeout,
        shutdown_grace: config.worker.grace,
        max_concurrent_requests: config.worker.foreground + BESIDE,
        max_connections: defaults
            .max_connections
            .max(config.worker.foreground + 2 * BESIDE),
        ..defaults
    })
}
