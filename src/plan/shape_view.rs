//! What the statements of a step may be that makes a view.

use crate::plan::CreateView;
use crate::plan::shape::{Shape, target};
use crate::plan::shape_grammar::Rule;
use crate::sql::{ident, literal, name};

/// The view, its comments, and what a materialized one has besides.
pub(super) fn new_view(op: &CreateView) -> Vec<Shape> {
    let (own, def) = (name(&op.name), &op.def);
    let rule = if def.materialized.is_some() { Rule::new_materialized_view } else { Rule::new_view };
    let mut list = vec![target(rule, vec![own.clone(), def.definition.clone()])];
    let comment = |on: String, text: &str| target(Rule::comment_on, vec![on, literal(text)]);
    list.extend(def.comment.iter().map(|text| comment(own.clone(), text)));
    let of_columns = def.column_comments.iter();
    list.extend(of_columns.map(|(column, text)| comment(format!("{own}.{}", ident(column)), text)));
    if let Some(materialized) = &def.materialized {
        let indexes = materialized.indexes.keys();
        list.extend(indexes.map(|index| target(Rule::new_index, vec![ident(index), own.clone()])));
        if !materialized.unpopulated {
            list.extend([Rule::refresh, Rule::analyze].map(|rule| target(rule, vec![own.clone()])));
        }
    }
    list
}

/// DROP of it.
pub(super) fn dropped_view(op: &CreateView) -> Vec<Shape> {
    let rule = if op.def.materialized.is_some() { Rule::drop_materialized_view } else { Rule::drop_view };
    vec![target(rule, vec![name(&op.name)])]
}
