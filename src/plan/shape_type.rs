//! What the statements that create a type may be.

use crate::catalog::{QualifiedName, TypeDef};
use crate::plan::shape::{Shape, target};
use crate::plan::shape_grammar::Rule;
use crate::sql::ddl_type::{NOT_VALID, is_not_valid, range_options};
use crate::sql::{ident, literal, name};

/// The statements of a `create_type` step.
pub(super) fn new_type(type_name: &QualifiedName, def: &TypeDef) -> Vec<Shape> {
    let mut says = vec![name(type_name)];
    match def {
        TypeDef::Enum(labels) => {
            says.extend(labels.iter().map(|label| literal(label)));
            vec![target(Rule::new_enum, says)]
        }
        TypeDef::Composite(attributes) => {
            for attribute in attributes {
                says.extend([ident(&attribute.name), attribute.ty.clone()]);
                says.extend(attribute.collation.as_ref().map(name));
            }
            vec![target(Rule::new_composite, says)]
        }
        TypeDef::Range(range) => {
            says.push(range.subtype.clone());
            says.extend(range_options(range).flat_map(|(word, value)| [word.to_owned(), name(value)]));
            vec![target(Rule::new_range, says)]
        }
        TypeDef::Domain { base, not_null, checks, default, collation } => {
            let condition = |check: &String| {
                let check = check.strip_suffix(NOT_VALID).unwrap_or(check);
                check.strip_prefix("CHECK ").unwrap_or(check).to_owned()
            };
            says.push(base.clone());
            says.extend(collation.as_ref().map(name));
            says.extend(default.clone());
            says.extend(not_null.then(|| "NOT NULL".to_owned()));
            let (later, now): (Vec<_>, Vec<_>) = checks.iter().partition(|(_, check)| is_not_valid(check));
            says.extend(now.into_iter().flat_map(|(check, text)| [ident(check), condition(text)]));
            let later = later
                .into_iter()
                .map(|(check, text)| target(Rule::domain_check, vec![name(type_name), ident(check), condition(text)]));
            [target(Rule::new_domain, says)].into_iter().chain(later).collect()
        }
        TypeDef::Base => Vec::new(),
    }
}
