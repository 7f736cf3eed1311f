//! Which changes of a batch are applied together: the net effect on each row, in pieces within which the order of rows
//! does not matter.
//!
//! Within a piece all removals come first, then all updates, then all additions, each expected to meet exactly one row. A
//! change that would have to come earlier than that begins the next piece; so does a change that contradicts what came
//! before it, for the database to tell.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

/// What a change does to the row of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// A new row.
    Insert,
    /// Other values under the same key.
    Update,
    /// No row any more.
    Delete,
}

/// Bytes that are equal for equal keys of one row version after another.
pub type KeyBytes<'a> = Cow<'a, [u8]>;

/// A change that may be applied together with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<'a> {
    /// Number of its table.
    pub table: usize,
    /// Its key.
    pub key: KeyBytes<'a>,
    /// What it does.
    pub effect: Effect,
    /// It brings a value for every column.
    pub whole: bool,
}

/// The net effect of a piece on one row. Changes are named by their number in the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Net {
    /// Number of the table.
    pub table: usize,
    /// A row is there and goes: the change that said so.
    pub removed: Option<usize>,
    /// A row is written.
    pub written: Option<Written>,
}

/// A row that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// There is no row yet; else it is updated.
    pub is_new: bool,
    /// The changes that have its values: of each column, the last one that brings it.
    pub by: Vec<usize>,
}

/// Changes in the order in which they are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Removals, then updates, then additions.
    Together {
        /// The changes that these are the effect of.
        changes: Range<usize>,
        /// The net effects.
        nets: Vec<Net>,
    },
    /// One change by itself.
    Alone(usize),
}

/// Cuts a batch into pieces. `None` is a change that has to be applied by itself.
pub fn compact<'a>(changes: impl IntoIterator<Item = Option<Change<'a>>>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut open = Open::default();
    let mut end = 0;
    for (number, change) in changes.into_iter().enumerate() {
        end = number + 1;
        match change {
            None => {
                open.close(&mut pieces, number);
                open.first = end;
                pieces.push(Piece::Alone(number));
            }
            Some(change) => {
                if !open.add(number, &change) {
                    open.close(&mut pieces, number);
                    let fits = open.add(number, &change);
                    debug_assert!(fits, "nothing stands before it");
                }
            }
        }
    }
    open.close(&mut pieces, end);
    pieces
}

#[derive(Default)]
struct Open<'a> {
    nets: Vec<Net>,
    at: HashMap<(usize, KeyBytes<'a>), usize>,
    /// The first change of the piece.
    first: usize,
}

impl<'a> Open<'a> {
    /// Adds a change, unless it does not follow from what is known of its row.
    fn add(&mut self, number: usize, change: &Change<'a>) -> bool {
        let &Change { table, effect, whole, .. } = change;
        let at = match self.at.entry((table, change.key.clone())) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => {
                unknown.insert(self.nets.len());
                let written = |is_new| Some(Written { is_new, by: vec![number] });
                let (removed, written) = match effect {
                    Effect::Insert => (None, written(true)),
                    Effect::Update => (None, written(false)),
                    Effect::Delete => (Some(number), None),
                };
                self.nets.push(Net { table, removed, written });
                return true;
            }
        };
        let net = &mut self.nets[at];
        match (&mut net.written, effect) {
            (Some(written), Effect::Update) => {
                if whole {
                    written.by.clear();
                }
                written.by.push(number);
            }
            (Some(Written { is_new: false, .. }), Effect::Delete) => {
                net.written = None;
                net.removed = Some(number);
            }
            (None, Effect::Insert) => net.written = Some(Written { is_new: true, by: vec![number] }),
            // A new row that goes again must have been new: both are asked of the database.
            (Some(_), Effect::Delete | Effect::Insert) | (None, Effect::Update | Effect::Delete) => return false,
        }
        true
    }

    /// Ends the piece before the change `end`.
    fn close(&mut self, pieces: &mut Vec<Piece>, end: usize) {
        self.at.clear();
        if !self.nets.is_empty() {
            pieces.push(Piece::Together { changes: self.first..end, nets: std::mem::take(&mut self.nets) });
        }
        self.first = end;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Two columns; an update may leave the second one unsaid.
    type Row = (u8, u8);
    type Table = BTreeMap<(usize, u8), Row>;

    #[derive(Debug, Clone)]
    struct Said {
        table: usize,
        key: u8,
        effect: Effect,
        first: u8,
        second: Option<u8>,
        alone: bool,
    }

    fn change(said: &Said) -> Option<Change<'static>> {
        (!said.alone).then(|| Change {
            table: said.table,
            key: vec![said.key].into(),
            effect: said.effect,
            whole: said.effect == Effect::Insert || said.second.is_some(),
        })
    }

    /// One change as the database applies it: false when it does not meet exactly one row.
    fn apply(rows: &mut Table, said: &Said) -> bool {
        let at = (said.table, said.key);
        match said.effect {
            Effect::Insert => rows.insert(at, (said.first, said.second.unwrap_or(0))).is_none(),
            Effect::Update => rows.get_mut(&at).is_some_and(|row| {
                *row = (said.first, said.second.unwrap_or(row.1));
                true
            }),
            Effect::Delete => rows.remove(&at).is_some(),
        }
    }

    fn merged(written: &Written, batch: &[Said]) -> Said {
        let mut merged = batch[written.by[0]].clone();
        for &number in &written.by[1..] {
            merged.first = batch[number].first;
            merged.second = batch[number].second.or(merged.second);
        }
        Said { effect: if written.is_new { Effect::Insert } else { Effect::Update }, ..merged }
    }

    fn apply_pieces(rows: &mut Table, batch: &[Said]) -> bool {
        let mut next = 0;
        for piece in compact(batch.iter().map(change)) {
            let (first, end) = match &piece {
                Piece::Alone(number) => (*number, number + 1),
                Piece::Together { changes, .. } => (changes.start, changes.end),
            };
            assert!(first == next && end > first, "every change is in one piece");
            next = end;
            let ok = match piece {
                Piece::Alone(number) => apply(rows, &batch[number]),
                Piece::Together { nets, .. } => {
                    let removed = nets.iter().filter_map(|net| net.removed).map(|number| batch[number].clone());
                    let written = |is_new: bool| {
                        let of_kind = nets.iter().filter_map(|net| net.written.as_ref());
                        of_kind.filter(move |written| written.is_new == is_new).map(|written| merged(written, batch))
                    };
                    removed
                        .chain(written(false))
                        .chain(written(true))
                        .collect::<Vec<_>>()
                        .iter()
                        .all(|said| apply(rows, said))
                }
            };
            if !ok {
                return false;
            }
        }
        true
    }

    fn said() -> impl Strategy<Value = Said> {
        let effect = prop_oneof![Just(Effect::Insert), Just(Effect::Update), Just(Effect::Delete)];
        (0..2_usize, 0..4_u8, effect, any::<u8>(), proptest::option::of(any::<u8>()), proptest::bool::weighted(0.05))
            .prop_map(|(table, key, effect, first, second, alone)| Said { table, key, effect, first, second, alone })
    }

    proptest! {
        #[test]
        fn pieces_do_what_the_changes_do(start in proptest::collection::btree_map((0..2_usize, 0..4_u8), any::<Row>(), 0..8),
                                         batch in proptest::collection::vec(said(), 0..40)) {
            // Whatever follows the first change that fails is never applied.
            let mut wanted = start.clone();
            let good = batch.iter().take_while(|said| apply(&mut wanted, said)).count();
            let mut wanted = start.clone();
            for said in &batch[..good] {
                prop_assert!(apply(&mut wanted, said));
            }
            let mut found = start.clone();
            prop_assert!(apply_pieces(&mut found, &batch[..good]));
            prop_assert_eq!(found, wanted);
            if good < batch.len() {
                let mut found = start;
                prop_assert!(!apply_pieces(&mut found, &batch[..=good]), "a change that contradicts the table is told");
            }
        }
    }

    #[test]
    fn a_row_that_changes_often_is_written_once() {
        let update = |whole| Some(Change { table: 0, key: KeyBytes::Borrowed(b"1"), effect: Effect::Update, whole });
        let written = |by: &[usize]| Some(Written { is_new: false, by: by.to_vec() });
        let nets = |by| vec![Net { table: 0, removed: None, written: written(by) }];
        let net = |by| vec![Piece::Together { changes: 0..3, nets: nets(by) }];
        assert_eq!(compact([update(true), update(true), update(true)]), net(&[2]));
        assert_eq!(compact([update(true), update(false), update(false)]), net(&[0, 1, 2]));
        assert_eq!(compact([update(false), update(true), update(false)]), net(&[1, 2]));
    }
}
