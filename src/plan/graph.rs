//! Steps in order: edges from the rules, no edge that others imply, one order for one input.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use petgraph::algo::toposort;
use petgraph::algo::tred::{dag_to_toposorted_adjacency_list, dag_transitive_reduction_closure};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::plan::kind::Kind;
use crate::plan::rules::{World, all};
use crate::plan::{After, Op, StepId};

/// The rules ask for a cycle: a defect of the rules, never of the user's input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("step {0} would have to come before itself")]
pub struct Cycle(pub StepId);

/// Orders the ops and gives each the edges that no other edge implies.
pub fn order(world: &World, ops: Vec<Op>) -> Result<Vec<(Op, Vec<After>)>, Cycle> {
    let after = edges(world, &ops)?;
    let mut waiting: Vec<BTreeSet<usize>> =
        after.iter().map(|list| list.iter().map(|&(step, _)| step).collect()).collect();
    let key = |index: usize| Reverse((ops[index].phase(), index));
    let mut ready: BinaryHeap<_> = (0..ops.len()).filter(|&index| waiting[index].is_empty()).map(key).collect();
    let mut sequence = Vec::with_capacity(ops.len());
    while let Some(Reverse((_, next))) = ready.pop() {
        sequence.push(next);
        for (index, list) in waiting.iter_mut().enumerate() {
            if list.remove(&next) && list.is_empty() {
                ready.push(key(index));
            }
        }
    }
    let ids: Vec<StepId> = ops.iter().map(Op::id).collect();
    let mut ops: Vec<Option<Op>> = ops.into_iter().map(Some).collect();
    let place: BTreeMap<usize, usize> = sequence.iter().enumerate().map(|(place, &index)| (index, place)).collect();
    let mut ordered = Vec::with_capacity(ops.len());
    for index in sequence {
        let mut list = after[index].clone();
        list.sort_by_key(|&(step, rule)| (place.get(&step).copied(), rule));
        let list = list.into_iter().map(|(step, rule)| After { step: ids[step].clone(), rule: rule.to_owned() });
        ordered.extend(ops[index].take().map(|op| (op, list.collect())));
    }
    Ok(ordered)
}

/// For each op: the ops before it and the rule, transitively reduced.
fn edges(world: &World, ops: &[Op]) -> Result<Vec<Vec<(usize, &'static str)>>, Cycle> {
    let mut by_kind: BTreeMap<Kind, Vec<usize>> = BTreeMap::new();
    for (index, op) in ops.iter().enumerate() {
        by_kind.entry(op.kind()).or_default().push(index);
    }
    let of = |kinds: &'static [Kind]| kinds.iter().filter_map(|kind| by_kind.get(kind)).flatten().copied();
    let mut graph: DiGraph<usize, &'static str> = DiGraph::with_capacity(ops.len(), ops.len() * 4);
    for index in 0..ops.len() {
        graph.add_node(index);
    }
    for rule in all() {
        for earlier in of(rule.earlier) {
            for later in of(rule.later) {
                let (from, to) = (NodeIndex::new(earlier), NodeIndex::new(later));
                if earlier != later && (rule.when)(world, &ops[earlier], &ops[later]) && !graph.contains_edge(from, to)
                {
                    graph.add_edge(from, to, rule.sentence);
                }
            }
        }
    }
    let sorted = toposort(&graph, None).map_err(|cycle| Cycle(ops[cycle.node_id().index()].id()))?;
    let (list, place) = dag_to_toposorted_adjacency_list::<_, u32>(&graph, &sorted);
    let (reduction, _) = dag_transitive_reduction_closure(&list);
    let mut after = vec![Vec::new(); ops.len()];
    for edge in graph.edge_references() {
        let (from, to) = (edge.source().index(), edge.target().index());
        if reduction.contains_edge(place[from], place[to]) {
            after[to].push((from, *edge.weight()));
        }
    }
    Ok(after)
}
