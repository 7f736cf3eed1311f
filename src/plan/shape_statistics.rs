//! What the statements of a step may be that makes a statistics object.

use crate::plan::CreateStatistics;
use crate::plan::shape::{Shape, target};
use crate::plan::shape_grammar::Rule;
use crate::sql::{ident, name};

/// The object, and how much ANALYZE looks at for it.
pub(super) fn new_statistics(op: &CreateStatistics) -> Vec<Shape> {
    let def = &op.def;
    let mut says = vec![name(&op.name)];
    says.extend(def.kinds.iter().map(|kind| kind.word().to_owned()));
    says.extend(def.columns.iter().map(ident));
    says.extend(def.expressions.iter().map(|expression| format!("({expression})")));
    says.push(name(&op.table));
    let set = def.target.map(|number| target(Rule::statistics_target, vec![name(&op.name), number.to_string()]));
    [target(Rule::new_statistics, says)].into_iter().chain(set).collect()
}
