//! Asks the table of roles for each thing that a document asks for, before any of it is done: a
//! document that was half carried out is worse than one that was refused.

use std::collections::HashSet;

use async_graphql::{
    Name, Pos, ServerError,
    parser::{
        parse_schema,
        types::{
            DocumentOperations, ExecutableDocument, OperationDefinition, OperationType, Selection,
            SelectionSet, TypeKind, TypeSystemDefinition,
        },
    },
};
use toolroom_domain::access::{Operation, Place};

use super::server_error;
use crate::state::RequestContext;

/// Refuses a document of which the sender may not do all.
///
/// # Errors
/// For the first field at the operation's root that they may not ask for.
pub(super) fn check(
    ctx: &RequestContext,
    document: &ExecutableDocument,
    operation: Option<&str>,
) -> Result<(), ServerError> {
    // A document without the operation that it is sent for is refused by its execution.
    let Some(operation) = chosen(document, operation) else {
        return Ok(());
    };
    let place = match operation.ty {
        OperationType::Query => Place::Query,
        OperationType::Mutation => Place::Mutation,
        OperationType::Subscription => Place::Subscription,
    };
    let mut fields = Vec::new();
    let set = &operation.selection_set.node;
    collect(document, set, &mut HashSet::new(), &mut fields);
    for (name, at) in fields {
        // A name that no operation has is no field either: the validation tells of the mistake.
        let Some(operation) = Operation::find(place, name) else {
            continue;
        };
        ctx.require(operation)
            .map_err(|error| server_error(error, Some(at)))?;
    }
    Ok(())
}

fn chosen<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Option<&'a OperationDefinition> {
    match (&document.operations, name) {
        (DocumentOperations::Single(operation), _) => Some(&operation.node),
        (DocumentOperations::Multiple(operations), Some(name)) => {
            operations.get(name).map(|operation| &operation.node)
        }
        (DocumentOperations::Multiple(operations), None) => {
            let mut all = operations.values();
            all.next()
                .filter(|_| operations.len() == 1)
                .map(|operation| &operation.node)
        }
    }
}

/// The fields of a set with those of its fragments, each of which is looked through once. Whether
/// a field is skipped does not count: what may not be asked for may not be asked for conditionally.
fn collect<'a>(
    document: &'a ExecutableDocument,
    set: &'a SelectionSet,
    seen: &mut HashSet<&'a Name>,
    fields: &mut Vec<(&'a str, Pos)>,
) {
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => fields.push((field.node.name.node.as_str(), field.pos)),
            Selection::InlineFragment(fragment) => {
                collect(document, &fragment.node.selection_set.node, seen, fields);
            }
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                if seen.insert(name)
                    && let Some(fragment) = document.fragments.get(name)
                {
                    collect(document, &fragment.node.selection_set.node, seen, fields);
                }
            }
        }
    }
}

/// The fields at the roots of a schema that the table of roles does not know: nobody would be kept
/// from them, so a schema with any must not be served.
pub(super) fn unknown(sdl: &str) -> Vec<String> {
    let Ok(document) = parse_schema(sdl) else {
        return vec!["the schema itself".to_owned()];
    };
    let mut found = Vec::new();
    for definition in document.definitions {
        let TypeSystemDefinition::Type(definition) = definition else {
            continue;
        };
        let place = match definition.node.name.node.as_str() {
            "Query" => Place::Query,
            "Mutation" => Place::Mutation,
            "Subscription" => Place::Subscription,
            _ => continue,
        };
        let TypeKind::Object(object) = definition.node.kind else {
            continue;
        };
        let names = object.fields.into_iter().map(|field| field.node.name.node);
        found.extend(
            names
                .filter(|name| Operation::find(place, name).is_none())
                .map(|name| name.to_string()),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use toolroom_domain::{Role, access::Caller};

    use super::*;

    fn refused(caller: Caller, query: &str, name: Option<&str>) -> bool {
        let mut ctx = RequestContext::local("request");
        ctx.caller = caller;
        check(&ctx, &parse_query(query).unwrap(), name).is_err()
    }

    #[test]
    fn each_root_field_counts_wherever_it_stands() {
        let viewer = Caller::Key(Role::Viewer);
        for query in [
            "{ logHead { hash } }",
            "{ viewer { id } a: logHead { hash } }",
            "{ viewer { id } ... on Query { logHead { hash } } }",
            "{ ...A } fragment A on Query { ...B } fragment B on Query { logHead { hash } }",
            "{ ...A } fragment A on Query { ...A logHead { hash } }",
            "query ($no: Boolean!) { logHead @include(if: $no) { hash } }",
            "mutation { executeTool(toolName: \"a\") { id } }",
            "subscription { auditEvents { position } }",
        ] {
            assert!(refused(viewer, query, None), "{query}");
            assert!(refused(Caller::Anonymous, query, None), "{query}");
            assert!(!refused(Caller::Operator, query, None), "{query}");
        }
        assert!(!refused(viewer, "{ viewer { id } __typename }", None));
    }

    #[test]
    fn only_the_operation_that_is_carried_out_counts() {
        let two = "query A { viewer { id } } query B { logHead { hash } }";
        let viewer = Caller::Key(Role::Viewer);
        assert!(!refused(viewer, two, Some("A")));
        assert!(refused(viewer, two, Some("B")));
    }

    #[test]
    fn a_field_that_the_table_does_not_know_is_found() {
        let sdl = "type Query { viewer: Int, peek: Int } type Mutation { viewer: Int }";
        assert_eq!(unknown(sdl), ["peek", "viewer"]);
        assert_eq!(unknown(&super::super::sdl()), Vec::<String>::new());
    }
}
