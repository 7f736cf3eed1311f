//! Digests of plans: over canonical JSON with sorted keys, so that the order of fields in a file does not matter.

use std::collections::BTreeMap;

use crate::catalog::{Fingerprint, QualifiedName, Sequence, Table};
use crate::plan::{Plan, PlanId, canonical};

/// Digest of the plan without its id.
pub fn id(plan: &Plan) -> PlanId {
    Fingerprint::of_bytes(&canonical::text(plan, Some("id")))
}

/// Digest of one end's tables and sequences.
pub fn side(tables: &BTreeMap<QualifiedName, Table>, sequences: &BTreeMap<QualifiedName, Sequence>) -> Fingerprint {
    Fingerprint::of_bytes(&canonical::text(&(tables, sequences), None))
}
