//! A REST call described by JSON.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A REST call described by JSON, in the words of the definition format that clients register.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestConfig {
    /// The request.
    pub api: RestApi,
    /// How input becomes parameters, and the answer output.
    #[serde(default, skip_serializing_if = "Mapping::is_empty")]
    pub mapping: Mapping,
}

/// The request. Texts are templates over the validated input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestApi {
    /// Scheme, host and optionally the beginning of the path.
    pub base_url: String,
    /// Appended to `base_url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The HTTP method.
    #[serde(default)]
    pub method: HttpMethod,
    /// Query parameters beside the mapped ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    /// Headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// A body whose texts are templates; left out, the mapped parameters are the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// In which form the body is sent.
    #[serde(default, skip_serializing_if = "BodyType::is_json")]
    pub body_type: BodyType,
    /// In which form the answer comes; left out, its content type says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_format: Option<ResponseFormat>,
    /// How further pages are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pagination: Option<Pagination>,
    /// How the call authenticates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<RestAuth>,
    /// The header in which the other side takes an idempotency key: a repetition is safe then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_header: Option<String>,
}

/// An HTTP method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "each name is the method itself")]
pub enum HttpMethod {
    #[default]
    Get,
    Post,
    Put,
    Patch,
    Delete,
    Head,
}

/// In which form a body is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyType {
    /// `application/json`.
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`: the body is an object of texts, numbers and lists of
    /// them, a list repeats its name.
    Form,
    /// `multipart/form-data`: as `form`; a field may also be an object `{"filename", "content",
    /// "content_type", "encoding"}`, a file. With the encoding `base64` its content is decoded.
    Multipart,
    /// `text/plain`, unless a header says otherwise: the body is a text.
    Text,
}

impl BodyType {
    fn is_json(&self) -> bool {
        *self == Self::Json
    }
}

/// In which form an answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponseFormat {
    /// JSON.
    Json,
    /// XML: an element becomes an object of its attributes (`@name`) and children, a text if it has
    /// neither; children of one name become a list, and text beside others is `#text`.
    Xml,
    /// CSV with a line of headers: a list of objects.
    Csv,
    /// Text as it is.
    Text,
}

/// How further pages are asked for, and how many at most. The output is the first answer with the
/// items of all pages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pagination {
    /// What leads from one page to the next.
    #[serde(rename = "type")]
    pub by: PageBy,
    /// Where in an answer its items are: a name or dotted path. Left out, the answer is the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<String>,
    /// Where in an answer the next page is named, a name or dotted path: its cursor, or with `link`
    /// its URL, where no `Link` header tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The parameter that takes the cursor or the page's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// Where that parameter goes.
    #[serde(default, rename = "in", skip_serializing_if = "PageIn::is_query")]
    pub place: PageIn,
    /// The first page's number; 1 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    /// By how much the number grows from page to page: 1 if left out, the size of a page where the
    /// parameter counts items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// How many pages are fetched at most; 10 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_pages: Option<u32>,
    /// How many items are kept at most; 10,000 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_items: Option<u32>,
}

/// What leads from one page to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PageBy {
    /// A `Link` header with `rel="next"` (RFC 8288), or a URL in the answer.
    Link,
    /// A cursor in the answer.
    Cursor,
    /// A number that grows; a page without items is the last.
    Page,
}

/// Where a parameter goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PageIn {
    /// Into the query.
    #[default]
    Query,
    /// Into the JSON body, on top.
    Body,
}

impl PageIn {
    fn is_query(&self) -> bool {
        *self == Self::Query
    }
}

/// How a REST call authenticates. Secrets are references, never values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestAuth {
    /// The scheme.
    pub method: AuthMethod,
    /// The query parameter or header that carries the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// The user's name, for `basic`; may itself be a reference such as `${API_USER}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// A reference such as `${API_KEY}`, resolved at call time. For `oauth2_client_credentials`, the
    /// client's secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<String>,
    /// Where tokens are had, for `oauth2_client_credentials`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// The client's id, for `oauth2_client_credentials`; may itself be a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// What the token shall permit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// For whom the token shall be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// How the client shows its secret where it asks for a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuth>,
}

/// An authentication scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// None.
    None,
    /// The key as a query parameter.
    ApiKeyQuery,
    /// The key as a header.
    ApiKeyHeader,
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization: Basic`.
    Basic,
    /// A token of OAuth 2.0 for the client itself (RFC 6749, section 4.4).
    #[serde(rename = "oauth2_client_credentials")]
    OAuth2ClientCredentials,
}

/// How a client of OAuth 2.0 shows its secret (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// As `Authorization: Basic`.
    #[default]
    ClientSecretBasic,
    /// Within the form.
    ClientSecretPost,
}

/// Field mappings, each from a source (a name, a dotted path or a JSONPath that begins with `$`) to
/// a target name. A JSONPath that can name several values gives an array of them; a source that is
/// not there leaves its target out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Input field → request parameter. Left out, every input field that no template of the call
    /// reads is a parameter of its name; with a `body` of its own, none is.
    ///
    /// Parameters are the body of POST, PUT and PATCH, unless `body` is given, and the query else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub input_to_params: BTreeMap<String, String>,
    /// Answer field → output field. Left out, the answer is the output.
    ///
    /// Written the other way round, output field → answer field, it is understood too: where the
    /// value begins with `$` and the key does not, or where the key is a property of the output
    /// schema and the value is none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub response_to_output: BTreeMap<String, String>,
}

impl Mapping {
    fn is_empty(&self) -> bool {
        self.input_to_params.is_empty() && self.response_to_output.is_empty()
    }
}
