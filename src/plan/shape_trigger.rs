//! What the statements of a step may be that makes a trigger, or what one calls.

use crate::catalog::TriggerEvent;
use crate::plan::shape::{Shape, target};
use crate::plan::shape_grammar::Rule;
use crate::plan::{CreateFunction, CreateTrigger};
use crate::sql::function::quoted;
use crate::sql::{ident, literal, name};

/// The trigger, and when it fires.
pub(super) fn new_trigger(op: &CreateTrigger) -> Vec<Shape> {
    let def = &op.def;
    let mut says = Vec::new();
    says.extend(def.constraint.map(|_| "CONSTRAINT".to_owned()));
    says.push(ident(&op.name));
    says.push(if def.before { "BEFORE" } else { "AFTER" }.to_owned());
    for event in &def.events {
        says.push(event.word().to_owned());
        says.extend(def.columns.iter().filter(|_| *event == TriggerEvent::Update).map(ident));
    }
    says.push(name(&op.table));
    says.extend(def.constraint.map(|timing| timing.words().to_owned()));
    for (word, transition) in [("OLD", &def.old_table), ("NEW", &def.new_table)] {
        says.extend(transition.iter().flat_map(|transition| [word.to_owned(), ident(transition)]));
    }
    says.push(if def.each_row { "ROW" } else { "STATEMENT" }.to_owned());
    says.extend(def.condition.as_ref().map(|condition| format!("({condition})")));
    says.push(name(&def.function));
    says.extend(def.arguments.iter().map(|text| literal(text)));
    let firing = op
        .firing
        .words()
        .map(|words| target(Rule::trigger_firing, vec![name(&op.table), words.to_owned(), ident(&op.name)]));
    [target(Rule::new_trigger, says)].into_iter().chain(firing).collect()
}

/// The function; one of its name is never replaced.
pub(super) fn new_function(op: &CreateFunction) -> Shape {
    let attributes = Some(op.def.attributes.clone()).filter(|text| !text.is_empty());
    let says = [name(&op.name)].into_iter().chain(attributes).chain([quoted(&op.def.body)]);
    target(Rule::new_function, says.collect())
}
