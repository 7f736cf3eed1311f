//! Steps in order: edges from the rules, no edge that others imply, one order for one input.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::plan::kind::Kind;
use crate::plan::rules::{Link, World, all};
use crate::plan::{After, Op, StepId};

/// The rules ask for a cycle: a defect of the rules, never of the user's input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("step {0} would have to come before itself")]
pub struct Cycle(pub StepId);

/// Orders the ops and gives each the edges that no other edge implies. Linear in ops and edges, but for steps that wait for
/// many others.
pub fn order(world: &World, ops: Vec<Op>) -> Result<Vec<(Op, Vec<After>)>, Cycle> {
    let after = edges(world, &ops);
    let sequence = sorted(&ops, &after)?;
    let mut place = vec![0; ops.len()];
    for (at, &index) in sequence.iter().enumerate() {
        place[index] = at;
    }
    let ids: Vec<StepId> = ops.iter().map(Op::id).collect();
    let mut ops: Vec<Option<Op>> = ops.into_iter().map(Some).collect();
    let mut seen = vec![usize::MAX; ops.len()];
    let mut ordered = Vec::with_capacity(ops.len());
    for index in sequence {
        let mut list = reduced(&after, &place, &mut seen, index);
        list.sort_by_key(|&(step, rule)| (place[step], rule));
        let list = list.into_iter().map(|(step, rule)| After { step: ids[step].clone(), rule: rule.to_owned() });
        ordered.extend(ops[index].take().map(|op| (op, list.collect())));
    }
    Ok(ordered)
}

/// The ops before one and the rule.
type Edges = Vec<BTreeMap<usize, &'static str>>;

/// The first rule that asks for it gives an edge its sentence.
fn edges(world: &World, ops: &[Op]) -> Edges {
    let mut by_kind: BTreeMap<Kind, Vec<usize>> = BTreeMap::new();
    for (index, op) in ops.iter().enumerate() {
        by_kind.entry(op.kind()).or_default().push(index);
    }
    let of = |kinds: &'static [Kind]| kinds.iter().filter_map(|kind| by_kind.get(kind)).flatten().copied();
    let mut after: Edges = vec![BTreeMap::new(); ops.len()];
    for rule in all() {
        let mut givers: BTreeMap<Link, Vec<usize>> = BTreeMap::new();
        for earlier in of(rule.earlier) {
            for link in (rule.gives)(world, &ops[earlier]) {
                givers.entry(link).or_default().push(earlier);
            }
        }
        for later in of(rule.later) {
            for link in (rule.needs)(world, &ops[later]) {
                for &earlier in givers.get(&link).into_iter().flatten().filter(|&&earlier| earlier != later) {
                    after[later].entry(earlier).or_insert(rule.sentence);
                }
            }
        }
    }
    after
}

/// By phase and then as given, each after those that it waits for (Kahn's algorithm).
fn sorted(ops: &[Op], after: &Edges) -> Result<Vec<usize>, Cycle> {
    let mut later = vec![Vec::new(); ops.len()];
    for (index, list) in after.iter().enumerate() {
        for &earlier in list.keys() {
            later[earlier].push(index);
        }
    }
    let mut waiting: Vec<usize> = after.iter().map(BTreeMap::len).collect();
    let key = |index: usize| Reverse((ops[index].phase(), index));
    let mut ready: BinaryHeap<_> = (0..ops.len()).filter(|&index| waiting[index] == 0).map(key).collect();
    let mut sequence = Vec::with_capacity(ops.len());
    while let Some(Reverse((_, next))) = ready.pop() {
        sequence.push(next);
        for &index in &later[next] {
            waiting[index] -= 1;
            if waiting[index] == 0 {
                ready.push(key(index));
            }
        }
    }
    match waiting.iter().position(|count| *count > 0) {
        Some(index) => Err(Cycle(ops[index].id())),
        None => Ok(sequence),
    }
}

/// The edges of one op that no path over its other edges implies. Nothing before the earliest of them can lie on such a
/// path, which keeps the search short. `seen` says for which op an ancestor was met last.
fn reduced(after: &Edges, place: &[usize], seen: &mut [usize], index: usize) -> Vec<(usize, &'static str)> {
    let own = &after[index];
    let Some(first) = own.keys().map(|&step| place[step]).min() else { return Vec::new() };
    let mut open: Vec<usize> = own.keys().copied().collect();
    while let Some(step) = open.pop() {
        for &earlier in after[step].keys().filter(|&&earlier| place[earlier] >= first) {
            if seen[earlier] != index {
                seen[earlier] = index;
                open.push(earlier);
            }
        }
    }
    own.iter().filter(|&(&step, _)| seen[step] != index).map(|(&step, &rule)| (step, rule)).collect()
}
