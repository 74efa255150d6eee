//! Reads GraphQL requests.

use async_graphql::{
    Name, Positioned, Request, Variables,
    parser::types::{
        DocumentOperations, ExecutableDocument, Field, OperationDefinition, OperationType,
        Selection,
    },
};
use serde_json::{Map, Value};
use toolroom_domain::{Violation, limits::JSON_DEPTH};

use crate::http::{Problem, body, fields::Fields, nesting};

/// The argument by which every subscription resumes.
const AFTER: &str = "after";

/// The request that a JSON object is.
pub(super) fn from_object(object: Map<String, Value>) -> Result<Request, Problem> {
    let mut fields = Fields::new(object);
    let query = fields.text("query");
    let query = fields.required("query", query);
    let operation_name = fields.text("operationName");
    let variables = fields.object("variables");
    // Nothing is asked of us by extensions; they are well-formed or refused all the same.
    fields.object("extensions");
    let violations = fields.finish();
    match query {
        Some(query) if violations.is_empty() => from_parts(query, operation_name, variables),
        _ => Err(Problem::invalid(violations)),
    }
}

/// The request that the part of a URL after `?` is.
pub(super) fn from_query_string(query: &str) -> Result<Request, Problem> {
    let mut object = Map::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let value = match &*name {
            "variables" | "extensions" if value.is_empty() => continue,
            "variables" | "extensions" => {
                let parsed = body::parse_object(value.as_bytes()).map_err(|problem| Problem {
                    message: format!("{name}: {}", problem.message).into(),
                    ..problem
                })?;
                Value::Object(parsed)
            }
            "operationName" if value.is_empty() => continue,
            _ => Value::String(value.into_owned()),
        };
        object.insert(name.into_owned(), value);
    }
    from_object(object)
}

fn from_parts(
    query: String,
    operation_name: Option<String>,
    variables: Option<Map<String, Value>>,
) -> Result<Request, Problem> {
    check_depth(&query)?;
    let mut request = Request::new(query);
    request.operation_name = operation_name;
    if let Some(variables) = variables {
        request.variables = Variables::from_json(Value::Object(variables));
    }
    Ok(request)
}

/// Refuses a document that its parser could not follow.
pub(super) fn check_depth(query: &str) -> Result<(), Problem> {
    if nesting::graphql_is_deeper_than(JSON_DEPTH, query) {
        return Err(Problem::invalid(vec![Violation::new(
            "query",
            format!("must nest at most {JSON_DEPTH} levels"),
        )]));
    }
    Ok(())
}

/// What kind of operation a request asks for; none when its document does not tell, which its
/// execution then refuses.
pub(super) fn operation_type(request: &mut Request) -> Option<OperationType> {
    let name = request.operation_name.clone();
    let document = request.parsed_query().ok()?;
    match &document.operations {
        DocumentOperations::Single(operation) => Some(operation.node.ty),
        DocumentOperations::Multiple(operations) => Some(operations.get(name?.as_str())?.node.ty),
    }
}

/// Makes a subscription go on after the position last seen, whatever its document says of `after`.
pub(super) fn resume_after(request: &mut Request, position: &str) {
    let name = request.operation_name.clone();
    let Ok(mut document) = request.parsed_query().cloned() else {
        return;
    };
    let position = async_graphql::Value::String(position.to_owned());
    let Some(field) = subscription_field(&mut document, name.as_deref()) else {
        return;
    };
    let given = field
        .arguments
        .iter_mut()
        .find(|(name, _)| name.node == AFTER);
    if let Some((_, value)) = given {
        // A variable is set, not replaced: one that its document does not use is an error.
        if let Some(variable) = value.node.to_string().strip_prefix('$') {
            request.variables.insert(Name::new(variable), position);
            return;
        }
        value.node = position.into_value();
    } else {
        let at = field.name.pos;
        field.arguments.push((
            Positioned::new(Name::new(AFTER), at),
            Positioned::new(position.into_value(), at),
        ));
    }
    request.set_parsed_query(document);
}

fn subscription_field<'a>(
    document: &'a mut ExecutableDocument,
    name: Option<&str>,
) -> Option<&'a mut Field> {
    let operation: &mut OperationDefinition = match &mut document.operations {
        DocumentOperations::Single(operation) => &mut operation.node,
        DocumentOperations::Multiple(operations) => &mut operations.get_mut(name?)?.node,
    };
    if operation.ty != OperationType::Subscription {
        return None;
    }
    let selections = &mut operation.selection_set.node.items;
    selections
        .iter_mut()
        .find_map(|selection| match &mut selection.node {
            Selection::Field(field) => Some(&mut field.node),
            Selection::FragmentSpread(_) | Selection::InlineFragment(_) => None,
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Request, Problem> {
        let Value::Object(object) = value else {
            panic!("not an object")
        };
        from_object(object)
    }

    fn paths(value: Value) -> Vec<String> {
        let violations = read(value).unwrap_err().violations;
        violations.into_iter().map(|found| found.path).collect()
    }

    #[test]
    fn each_wrong_field_is_named() {
        assert_eq!(paths(json!({})), ["query"]);
        let wrong = json!({ "query": 1, "variables": [], "operationName": {}, "extensions": "x" });
        assert_eq!(
            paths(wrong),
            ["query", "operationName", "variables", "extensions"]
        );
        let misspelt = json!({ "query": "{a}", "variabels": {} });
        assert_eq!(paths(misspelt), ["variabels"]);
    }

    #[test]
    fn null_is_as_good_as_absent() {
        let nulls = json!({ "query": "{a}", "variables": null, "operationName": null });
        assert!(read(nulls).is_ok());
    }

    #[test]
    fn a_document_too_deep_for_its_parser_is_refused() {
        let deep = format!("{{a(b: {}", "[".repeat(100_000));
        assert_eq!(paths(json!({ "query": deep })), ["query"]);
    }

    #[test]
    fn a_url_is_read_as_the_same_request() {
        let request =
            from_query_string("query=query+A%7Ba%7D&operationName=A&variables=%7B%22b%22%3A1%7D")
                .unwrap();
        assert_eq!(request.query, "query A{a}");
        assert_eq!(request.operation_name.as_deref(), Some("A"));
        assert_eq!(
            request.variables.get("b"),
            Some(&async_graphql::Value::from(1))
        );
        assert!(from_query_string("query={a}&variables=[").is_err());
    }

    fn resumed(query: &str) -> (String, Request) {
        let mut request = Request::new(query);
        resume_after(&mut request, "7");
        let mut document = request.parsed_query().unwrap().clone();
        let field = subscription_field(&mut document, None).unwrap();
        let arguments: Vec<_> = field
            .arguments
            .iter()
            .map(|(name, value)| format!("{}: {}", name.node, value.node))
            .collect();
        (arguments.join(", "), request)
    }

    #[test]
    fn a_subscription_resumes_after_the_position_last_seen() {
        let added = resumed("subscription { auditEvents { position } }").0;
        assert_eq!(added, r#"after: "7""#);
        let replaced = resumed(r#"subscription { auditEvents(after: "3") { position } }"#).0;
        assert_eq!(replaced, r#"after: "7""#);
        let (kept, request) =
            resumed("subscription($p: Position) { auditEvents(after: $p) { position } }");
        assert_eq!(kept, "after: $p");
        assert_eq!(
            request.variables.get("p"),
            Some(&async_graphql::Value::from("7"))
        );
    }
}
