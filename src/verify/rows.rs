//! Finds the rows and columns that differ.

use std::collections::BTreeMap;

use super::report::{Difference, DifferenceKind};

/// A row as digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowDigest {
    /// Where it stands.
    pub ctid: String,
    /// Key of the target as text; empty in a table without key.
    pub key: Vec<Option<String>>,
    /// One digest for each column of the target.
    pub columns: Vec<String>,
}

/// What differs between two sets of rows. Rows with a key are matched by it, others by all their columns. A key that
/// one end has more than once is an extra row for each time that the other end does not have it.
pub fn differences(names: &[String], source: Vec<RowDigest>, target: Vec<RowDigest>) -> Vec<Difference> {
    type Pair = (Vec<RowDigest>, Vec<RowDigest>);
    let mut matched: BTreeMap<Vec<Option<String>>, Pair> = BTreeMap::new();
    let identity = |row: &RowDigest| {
        if row.key.is_empty() { row.columns.iter().cloned().map(Some).collect() } else { row.key.clone() }
    };
    for row in source {
        matched.entry(identity(&row)).or_default().0.push(row);
    }
    for row in target {
        matched.entry(identity(&row)).or_default().1.push(row);
    }
    matched.into_values().flat_map(|(source, target)| of_one_key(names, source, target)).collect()
}

fn of_one_key(names: &[String], mut source: Vec<RowDigest>, mut target: Vec<RowDigest>) -> Vec<Difference> {
    // Equal rows cancel one for one.
    source.retain(|row| match target.iter().position(|other| other.columns == row.columns) {
        Some(at) => {
            target.remove(at);
            false
        }
        None => true,
    });
    let pairs = source.len().min(target.len());
    let left = source.split_off(pairs).into_iter().map(|row| alone(row, DifferenceKind::MissingOnTarget));
    let extra = target.split_off(pairs).into_iter().map(|row| alone(row, DifferenceKind::ExtraOnTarget));
    let different = source.into_iter().zip(target).map(|(source, target)| {
        let pairs = source.columns.iter().zip(&target.columns);
        let columns = names.iter().zip(pairs).filter(|(_, (a, b))| a != b).map(|(name, _)| name.clone()).collect();
        Difference { key: shown(&source), columns, kind: DifferenceKind::DifferentColumns }
    });
    different.chain(left).chain(extra).collect()
}

fn alone(row: RowDigest, kind: DifferenceKind) -> Difference {
    Difference { key: shown(&row), columns: Vec::new(), kind }
}

fn shown(row: &RowDigest) -> Vec<String> {
    if row.key.is_empty() {
        return vec![format!("ctid {}", row.ctid)];
    }
    row.key.iter().map(|value| value.clone().unwrap_or_else(|| "NULL".to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ctid: &str, key: &[&str], columns: &[&str]) -> RowDigest {
        RowDigest {
            ctid: ctid.to_owned(),
            key: key.iter().map(|value| Some((*value).to_owned())).collect(),
            columns: columns.iter().map(|&value| value.to_owned()).collect(),
        }
    }

    fn found(source: Vec<RowDigest>, target: Vec<RowDigest>) -> Vec<String> {
        let names = ["a".to_owned(), "b".to_owned()];
        differences(&names, source, target).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rows_are_matched_by_key() {
        let source =
            vec![row("s1", &["1"], &["x", "y"]), row("s2", &["2"], &["x", "y"]), row("s3", &["3"], &["x", "y"])];
        assert!(found(source.clone(), source.clone()).is_empty());
        let target =
            vec![row("t2", &["2"], &["z", "y"]), row("t3", &["3"], &["x", "y"]), row("t4", &["4"], &["x", "y"])];
        assert_eq!(
            found(source, target),
            ["row (1) is missing on the target", "row (2) differs in a", "row (4) is on the target only"]
        );
    }

    #[test]
    fn a_key_that_is_there_twice_is_an_extra_row() {
        let one = row("s1", &["1"], &["x", "y"]);
        let other = row("s2", &["1"], &["x", "z"]);
        assert_eq!(found(vec![one.clone()], vec![one.clone(), one.clone()]), ["row (1) is on the target only"]);
        assert_eq!(found(vec![one.clone()], vec![other, one]), ["row (1) is on the target only"]);
    }

    #[test]
    fn rows_without_key_are_counted() {
        let at = |ctid: &str| row(ctid, &[], &["x", "y"]);
        assert!(found(vec![at("1"), at("2")], vec![at("3"), at("4")]).is_empty());
        assert_eq!(found(vec![at("1"), at("2")], vec![at("3")]), ["row (ctid 2) is missing on the target"]);
        assert_eq!(found(vec![at("1")], vec![at("3"), at("4")]), ["row (ctid 4) is on the target only"]);
    }
}
