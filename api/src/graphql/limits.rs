//! What a document may hold, counted before anything walks through it.
//!
//! Fragments that spread each other double with every level, so they are counted by arithmetic:
//! each fragment once, its size multiplied. Those that no operation spreads count too: the
//! validation follows them from one to the next, and a chain of them that is long enough would
//! overflow its stack and end the process.

use std::collections::HashMap;

use async_graphql::{
    Name,
    parser::types::{ExecutableDocument, Selection, SelectionSet},
};

use crate::error::ApiError;
use toolroom_domain::ErrorCode;

/// Fields at the root of one operation: a page asks for a handful of things.
pub const ROOT_FIELDS: usize = 30;

/// Fields under another name than their own, in the whole document.
pub const ALIASES: usize = 100;

/// Fields after all fragments are spread; a whole introspection has some 200.
pub const FIELDS: usize = 5_000;

/// Fragments in one document, used or not.
pub const FRAGMENTS: usize = 100;

/// Fragments spread within fragments.
pub const FRAGMENT_DEPTH: usize = 20;

/// Levels of fields. An introspection by GraphiQL has 13 and more to spell out wrapped types.
pub const DEPTH: usize = 16;

/// Fields times the rows of the lists that they stand in.
pub const COMPLEXITY: usize = 30_000;

/// Directives on one field.
pub const DIRECTIVES: usize = 5;

/// Operations in one document, of which one is carried out.
pub const OPERATIONS: usize = 20;

#[derive(Clone, Copy, Default)]
struct Size {
    fields: usize,
    aliases: usize,
    /// Fields of the outermost level.
    top: usize,
    /// Fragments within fragments, at the deepest.
    height: usize,
}

struct Counter<'a> {
    document: &'a ExecutableDocument,
    known: HashMap<&'a Name, Size>,
}

/// Refuses a document that is larger than it may be.
///
/// # Errors
/// The bound that it breaks.
pub fn check(document: &ExecutableDocument) -> Result<(), ApiError> {
    let operations = document.operations.iter().count();
    bound(operations, OPERATIONS, "operations")?;
    bound(document.fragments.len(), FRAGMENTS, "fragments")?;
    let mut counter = Counter {
        document,
        known: HashMap::new(),
    };
    for (_, operation) in document.operations.iter() {
        let size = counter.size(&operation.node.selection_set.node, 0)?;
        bound(size.top, ROOT_FIELDS, "fields at an operation's root")?;
        bound(size.aliases, ALIASES, "aliases")?;
        bound(size.fields, FIELDS, "fields, fragments spread")?;
    }
    for name in document.fragments.keys() {
        let size = counter.fragment(name, 1)?;
        bound(size.fields, FIELDS, "fields, fragments spread")?;
    }
    Ok(())
}

fn bound(count: usize, limit: usize, what: &str) -> Result<(), ApiError> {
    if count <= limit {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::InvalidRequest,
        format!("the document has too many {what}; there may be {limit}"),
    ))
}

impl<'a> Counter<'a> {
    fn size(&mut self, set: &'a SelectionSet, depth: usize) -> Result<Size, ApiError> {
        let mut size = Size::default();
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let within = self.size(&field.node.selection_set.node, depth)?;
                    size.top = size.top.saturating_add(1);
                    size.fields = size.fields.saturating_add(within.fields).saturating_add(1);
                    size.aliases = size
                        .aliases
                        .saturating_add(within.aliases)
                        .saturating_add(usize::from(field.node.alias.is_some()));
                    size.height = size.height.max(within.height);
                }
                Selection::InlineFragment(fragment) => {
                    let within = self.size(&fragment.node.selection_set.node, depth)?;
                    size = size.with(within);
                }
                Selection::FragmentSpread(spread) => {
                    let within = self.fragment(&spread.node.fragment_name.node, depth + 1)?;
                    size = size.with(within);
                }
            }
        }
        Ok(size)
    }

    fn fragment(&mut self, name: &'a Name, depth: usize) -> Result<Size, ApiError> {
        if let Some(size) = self.known.get(name) {
            return Ok(*size);
        }
        // Also what ends a circle; the validation names it better where the circle is short.
        bound(depth, FRAGMENT_DEPTH, "fragments within fragments")?;
        let Some(fragment) = self.document.fragments.get(name) else {
            return Ok(Size::default());
        };
        let mut size = self.size(&fragment.node.selection_set.node, depth)?;
        // What was counted before is not walked again, so the way down alone would not show it.
        size.height += 1;
        bound(size.height, FRAGMENT_DEPTH, "fragments within fragments")?;
        self.known.insert(name, size);
        Ok(size)
    }
}

impl Size {
    fn with(self, other: Self) -> Self {
        Self {
            fields: self.fields.saturating_add(other.fields),
            aliases: self.aliases.saturating_add(other.aliases),
            top: self.top.saturating_add(other.top),
            height: self.height.max(other.height),
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn refusal(query: &str) -> Option<String> {
        let document = parse_query(query).expect("the document can be parsed");
        check(&document).err().map(|error| error.message)
    }

    #[test]
    fn an_honest_document_passes() {
        assert_eq!(
            refusal("{ a: tools { nodes { ...T } } } fragment T on Tool { id }"),
            None
        );
    }

    #[test]
    fn fragments_that_double_are_counted_not_spread() {
        let mut query = "{ health { ...F0 } }".to_owned();
        for i in 0..19 {
            query += &format!(" fragment F{i} on Health {{ ...F{0} ...F{0} }}", i + 1);
        }
        query += " fragment F19 on Health { status }";
        assert!(refusal(&query).is_some_and(|m| m.contains("fields")));
    }

    #[test]
    fn a_circle_of_fragments_ends() {
        let query = "{ health { ...A } } fragment A on Health { ...A }";
        assert!(refusal(query).is_some_and(|m| m.contains("fragments within")));
    }

    /// Fragments on `Health`, each of which spreads the next.
    fn chain(length: usize) -> String {
        let spread = |i: usize| format!(" fragment F{i} on Health {{ status ...F{} }}", i + 1);
        let links: String = (1..length).map(spread).collect();
        format!("{links} fragment F{length} on Health {{ status }}")
    }

    #[test]
    fn fragments_that_nobody_uses_count_too() {
        let unused = format!("{{ health {{ status }} }} {}", chain(FRAGMENTS + 1));
        assert!(refusal(&unused).is_some_and(|m| m.contains("too many fragments;")));
        let unused = format!("{{ health {{ status }} }} {}", chain(FRAGMENT_DEPTH + 1));
        assert!(refusal(&unused).is_some_and(|m| m.contains("fragments within")));
        let honest = format!("{{ health {{ ...F1 }} }} {}", chain(FRAGMENT_DEPTH));
        assert_eq!(refusal(&honest), None);
        let large = "status ".repeat(FIELDS + 1);
        let unused = format!("{{ health {{ status }} }} fragment F on Health {{ {large} }}");
        assert!(refusal(&unused).is_some_and(|m| m.contains("fields")));
    }

    #[test]
    fn a_chain_is_as_long_from_its_end() {
        let length = FRAGMENT_DEPTH + 1;
        let from_its_end: String = (1..=length).rev().map(|i| format!("...F{i} ")).collect();
        let query = format!("{{ health {{ {from_its_end} }} }} {}", chain(length));
        assert!(refusal(&query).is_some_and(|m| m.contains("fragments within")));
    }

    #[test]
    fn aliases_and_root_fields_are_bounded() {
        let many = |n: usize, field: &str| (0..n).map(|_| field).collect::<String>();
        let roots = format!("{{ {} }}", many(ROOT_FIELDS + 1, "logHead { hash } "));
        assert!(refusal(&roots).is_some_and(|m| m.contains("root")));
        let aliases = format!("{{ health {{ {} }} }}", many(ALIASES + 1, "a: status "));
        assert!(refusal(&aliases).is_some_and(|m| m.contains("aliases")));
    }
}
