//! Answers of several pages.

use std::collections::HashSet;

use reqwest::{Url, header::HeaderMap};
use serde_json::{Map, Value};
use toolroom_domain::{
    ErrorCategory, Violation,
    job::Progress,
    tool::{BodyType, PageBy, PageIn, Pagination, RestApi},
};

use super::{
    Sender, link,
    mapping::{PATH_CHARS, dotted, pointer},
    request::{has_body, set_query},
};
use crate::executor::{
    error::CallError,
    format,
    http::{ANSWER_BYTES, Outgoing},
    journal::Level,
};

/// Pages that are fetched unless the definition says otherwise: enough for a look at a list.
const DEFAULT_PAGES: u32 = 10;
/// Pages that a definition may ask for: each is a call, and a receipt on the job.
const MOST_PAGES: u32 = 100;
/// Items that are kept unless the definition says otherwise.
const DEFAULT_ITEMS: u32 = 10_000;
/// Items that a definition may ask for; an output of a megabyte holds no more.
const MOST_ITEMS: u32 = 100_000;

/// Checks what a definition says of its pages.
pub(super) fn check(api: &RestApi) -> Vec<Violation> {
    let Some(pagination) = &api.pagination else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut refuse = |field: &str, problem: String| {
        found.push(Violation::new(format!("pagination.{field}"), problem));
    };
    let Pagination {
        by,
        items,
        next,
        param,
        place,
        start,
        step,
        max_pages,
        max_items,
    } = pagination;
    for (field, path) in [("items", items), ("next", next)] {
        let unfit = |path: &String| {
            path.is_empty() || path.starts_with('$') || path.chars().count() > PATH_CHARS
        };
        if path.as_ref().is_some_and(unfit) {
            refuse(
                field,
                "must be a name or a dotted path such as meta.next".to_owned(),
            );
        }
    }
    if *by == PageBy::Cursor && next.is_none() {
        refuse(
            "next",
            "is required: where the answer holds the cursor".to_owned(),
        );
    }
    if *by == PageBy::Page && next.is_some() {
        refuse(
            "next",
            "is not used with page numbers; leave it out".to_owned(),
        );
    }
    match (by, param.as_deref()) {
        (PageBy::Link, Some(_)) => {
            refuse("param", "is not used with links; leave it out".to_owned())
        }
        (PageBy::Cursor | PageBy::Page, None | Some("")) => {
            refuse(
                "param",
                "is required: the parameter that names the page".to_owned(),
            );
        }
        _ => {}
    }
    if *by != PageBy::Page && (start.is_some() || step.is_some()) {
        refuse(
            "start",
            "is used with page numbers only, as is `step`".to_owned(),
        );
    }
    if *step == Some(0) {
        refuse("step", "must be at least 1".to_owned());
    }
    if *place == PageIn::Body && (!has_body(api.method) || api.body_type != BodyType::Json) {
        refuse(
            "in",
            "needs a method and a `body_type` with a JSON body".to_owned(),
        );
    }
    if max_pages.is_some_and(|pages| !(1..=MOST_PAGES).contains(&pages)) {
        refuse("max_pages", format!("must be from 1 to {MOST_PAGES}"));
    }
    if max_items.is_some_and(|items| !(1..=MOST_ITEMS).contains(&items)) {
        refuse("max_items", format!("must be from 1 to {MOST_ITEMS}"));
    }
    found
}

/// What leads on from a page.
enum Next {
    Url(Url),
    Parameter(Value),
}

/// Fetches pages until there are no more or enough, and gives the first answer with the items of all.
pub(super) async fn fetch(
    sender: &mut Sender<'_>,
    api: &RestApi,
    pagination: &Pagination,
    mut outgoing: Outgoing,
) -> Result<Value, CallError> {
    let max_pages = pagination.max_pages.unwrap_or(DEFAULT_PAGES);
    let max_items = pagination.max_items.unwrap_or(DEFAULT_ITEMS) as usize;
    let journal = sender.around.wire.journal();
    let mut number = pagination.start.unwrap_or(1);
    if pagination.by == PageBy::Page {
        put(&mut outgoing, pagination, &number.into())?;
    }
    let (mut whole, mut items) = (None, Vec::new());
    let (mut bytes, mut seen) = (0, HashSet::new());
    for page in 1..=max_pages {
        let answer = sender.send(outgoing.clone()).await?;
        bytes += answer.body.len();
        if bytes > ANSWER_BYTES {
            let mebibytes = ANSWER_BYTES / 1024 / 1024;
            return Err(CallError::too_large(format!(
                "the endpoint's pages together are larger than {mebibytes} MiB; ask for fewer by \
                 `pagination.max_pages`"
            )));
        }
        let (headers, url) = (answer.headers.clone(), answer.url.clone());
        let mut value = format::value(answer, api.response_format).await?;
        number = number.saturating_add(pagination.step.unwrap_or(1));
        let next = next(pagination, &headers, &url, &value, number)?;
        let found = take_items(&mut value, pagination.items.as_deref())?;
        let last = found.is_empty() && pagination.by == PageBy::Page;
        items.extend(found);
        whole.get_or_insert(value);
        let Some(next) = next.filter(|_| !last) else {
            break;
        };
        if items.len() >= max_items || page == max_pages {
            let message = format!(
                "stopped after {page} pages and {} items; there may be more",
                items.len()
            );
            journal.line(Level::Warn, "pagination", message);
            break;
        }
        outgoing = outgoing.with_step(sender.around.wire.step());
        let name = turn(&mut outgoing, pagination, next)?;
        if !seen.insert(name) {
            return Err(broken("names a page twice"));
        }
        journal.progress(Progress {
            step: Some(format!("page {} of at most {max_pages}", page + 1)),
            percentage: None,
        });
    }
    items.truncate(max_items);
    let mut whole = whole.unwrap_or_default();
    put_items(&mut whole, pagination.items.as_deref(), items);
    Ok(whole)
}

fn broken(problem: &str) -> CallError {
    let message = format!("the endpoint {problem}; check `pagination`");
    CallError::failed(ErrorCategory::ServerError, message)
}

fn next(
    pagination: &Pagination,
    headers: &HeaderMap,
    url: &Url,
    value: &Value,
    number: u64,
) -> Result<Option<Next>, CallError> {
    let named = pagination.next.as_deref();
    let named = named.and_then(|path| dotted(value, path));
    match pagination.by {
        PageBy::Page => Ok(Some(Next::Parameter(number.into()))),
        PageBy::Cursor => match named {
            None | Some(Value::Null | Value::Bool(false)) => Ok(None),
            Some(Value::String(cursor)) if cursor.is_empty() => Ok(None),
            Some(cursor @ (Value::String(_) | Value::Number(_))) => {
                Ok(Some(Next::Parameter(cursor.clone())))
            }
            Some(_) => Err(broken("gives a cursor that is neither a text nor a number")),
        },
        PageBy::Link => {
            let target = link::next(headers).or_else(|| named.and_then(Value::as_str));
            let Some(target) = target.filter(|target| !target.is_empty()) else {
                return Ok(None);
            };
            let target = url.join(target);
            let target = target.map_err(|_| broken("names a next page that is not a URL"))?;
            Ok(Some(Next::Url(target)))
        }
    }
}

/// Turns a request to the next page; gives what names that page.
fn turn(outgoing: &mut Outgoing, pagination: &Pagination, next: Next) -> Result<String, CallError> {
    match next {
        // The credentials are for the tool's own host.
        Next::Url(url) if url.origin() != outgoing.url.origin() => Err(broken(
            "names a next page on another host, to which no credentials go",
        )),
        Next::Url(url) => {
            let name = url.to_string();
            outgoing.url = url;
            Ok(name)
        }
        Next::Parameter(value) => {
            put(outgoing, pagination, &value)?;
            Ok(value.to_string())
        }
    }
}

fn put(outgoing: &mut Outgoing, pagination: &Pagination, value: &Value) -> Result<(), CallError> {
    let name = pagination.param.as_deref().unwrap_or_default();
    match pagination.place {
        PageIn::Query => {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            set_query(&mut outgoing.url, name, &text);
        }
        PageIn::Body => {
            let body = outgoing.body.as_deref().unwrap_or(b"{}");
            let fields = serde_json::from_slice::<Map<String, Value>>(body);
            let mut fields = fields.map_err(|_| {
                CallError::invalid("`rest.api.body` must give an object, as `pagination.in` says")
            })?;
            fields.insert(name.to_owned(), value.clone());
            outgoing.body = Some(Value::Object(fields).to_string().into());
        }
    }
    Ok(())
}

fn take_items(value: &mut Value, path: Option<&str>) -> Result<Vec<Value>, CallError> {
    let place = match path {
        None => Some(value),
        Some(path) => pointer(value, path).and_then(|pointer| value.pointer_mut(&pointer)),
    };
    match place.map(Value::take) {
        Some(Value::Array(items)) => Ok(items),
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(_) => Err(broken("gives items that are not a list")),
    }
}

fn put_items(whole: &mut Value, path: Option<&str>, items: Vec<Value>) {
    let place = match path {
        None => Some(whole),
        Some(path) => pointer(whole, path).and_then(|pointer| whole.pointer_mut(&pointer)),
    };
    if let Some(place) = place {
        *place = Value::Array(items);
    }
}
