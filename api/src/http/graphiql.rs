//! GraphiQL at `/`, from files that the binary holds: it works offline and tells nobody.

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::get,
};
use http::header;

/// What the page may do: run our own scripts, talk to us, and nothing else. GraphiQL sets styles
/// on elements and carries its fonts within its style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    font-src data:; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// The version stands in the path, so that a browser may keep the files for good.
const KEEP: &str = "public, max-age=31536000, immutable";

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/assets/graphiql/",
            $name
        ))
    };
}

/// The page and its files.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    const STYLE: &str = "text/css; charset=utf-8";
    let files: [(&str, &str, &'static [u8]); 7] = [
        (
            "react.production.min.js",
            SCRIPT,
            file!("react.production.min.js"),
        ),
        (
            "react-dom.production.min.js",
            SCRIPT,
            file!("react-dom.production.min.js"),
        ),
        ("graphiql.min.js", SCRIPT, file!("graphiql.min.js")),
        ("graphiql.min.css", STYLE, file!("graphiql.min.css")),
        ("graphql-ws.min.js", SCRIPT, file!("graphql-ws.min.js")),
        ("start.js", SCRIPT, file!("start.js")),
        ("page.css", STYLE, file!("page.css")),
    ];
    files.into_iter().fold(
        Router::new().route("/", get(page)),
        |router, (name, media_type, content)| {
            router.route(
                &format!("/assets/graphiql-3.9.0/{name}"),
                get(async move || {
                    let headers = [
                        (header::CONTENT_TYPE, media_type),
                        (header::CACHE_CONTROL, KEEP),
                    ];
                    (headers, content).into_response()
                }),
            )
        },
    )
}

async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, file!("index.html").as_slice()).into_response()
}
