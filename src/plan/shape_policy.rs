//! What the statements of a step may be that makes a policy, or sets row security.

use crate::plan::shape::{Shape, target};
use crate::plan::shape_grammar::Rule;
use crate::plan::{CreatePolicy, SetRowSecurity};
use crate::sql::{ident, name};

/// The policy.
pub(super) fn new_policy(op: &CreatePolicy) -> Shape {
    let def = &op.def;
    let kind = if def.restrictive { "RESTRICTIVE" } else { "PERMISSIVE" };
    let mut says = vec![ident(&op.name), name(&op.table), kind.to_owned(), def.command.word().to_owned()];
    match def.roles.is_empty() {
        true => says.push("PUBLIC".to_owned()),
        false => says.extend(def.roles.iter().map(ident)),
    }
    for (word, text) in [("USING", &def.using), ("WITH CHECK", &def.check)] {
        says.extend(text.iter().flat_map(|text| [word.to_owned(), format!("({text})")]));
    }
    target(Rule::new_policy, says)
}

/// What is set of the table.
pub(super) fn row_security(op: &SetRowSecurity) -> Vec<Shape> {
    let words = [(op.enabled, "ENABLE ROW LEVEL SECURITY"), (op.forced, "FORCE ROW LEVEL SECURITY")];
    let set = words.into_iter().filter(|(is_set, _)| *is_set);
    set.map(|(_, words)| target(Rule::row_security, vec![name(&op.table), words.to_owned()])).collect()
}
