//! Digests of plans: over canonical JSON with sorted keys, so that the order of fields in a file does not matter.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::catalog::{Fingerprint, QualifiedName, Sequence, Table, TypeDef};
use crate::plan::{Plan, PlanId, canonical};

/// Digest of the plan without its id.
pub fn id(plan: &Plan) -> PlanId {
    // In the order of the names, and piece by piece: the text of a large plan is never in memory as a whole.
    let Plan {
        back,
        changes,
        checks,
        findings,
        format,
        id: _,
        inputs,
        not_carried,
        projections,
        settings,
        source,
        steps,
        target,
        tool,
    } = plan;
    let mut hash = Sha256::new();
    hash.update("{");
    if !back.is_empty() {
        list(&mut hash, "\"back\":", back);
        hash.update(",");
    }
    list(&mut hash, "\"changes\":", changes);
    list(&mut hash, ",\"checks\":", checks);
    list(&mut hash, ",\"findings\":", findings);
    value(&mut hash, ",\"format\":", format);
    list(&mut hash, ",\"inputs\":", inputs);
    list(&mut hash, ",\"not_carried\":", not_carried);
    list(&mut hash, ",\"projections\":", projections);
    value(&mut hash, ",\"settings\":", settings);
    value(&mut hash, ",\"source\":", source);
    list(&mut hash, ",\"steps\":", steps);
    value(&mut hash, ",\"target\":", target);
    value(&mut hash, ",\"tool\":", tool);
    hash.update("}");
    Fingerprint::of_hash(hash)
}

fn value<T: Serialize>(hash: &mut Sha256, before: &str, value: &T) {
    hash.update(before);
    hash.update(canonical::text(value, None));
}

fn list<T: Serialize>(hash: &mut Sha256, before: &str, items: &[T]) {
    hash.update(before);
    hash.update("[");
    for (number, item) in items.iter().enumerate() {
        value(hash, if number == 0 { "" } else { "," }, item);
    }
    hash.update("]");
}

/// Digest of one end's tables and sequences.
pub fn side(
    tables: &BTreeMap<QualifiedName, Arc<Table>>,
    sequences: &BTreeMap<QualifiedName, Sequence>,
    types: &BTreeMap<QualifiedName, TypeDef>,
) -> Fingerprint {
    let text = match types.is_empty() {
        true => canonical::text(&(tables, sequences), None),
        false => canonical::text(&(tables, sequences, types), None),
    };
    Fingerprint::of_bytes(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PlanFile;

    #[test]
    fn pieces_make_the_digest_of_the_whole() {
        let text = include_str!("../../plans/widen_id_and_pack/plan.json.snap");
        let file: PlanFile = serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap();
        let whole = Fingerprint::of_bytes(&canonical::text(&file.plan, Some("id")));
        assert_eq!((id(&file.plan), file.plan.id), (whole.clone(), whole));
    }
}
