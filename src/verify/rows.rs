//! Finds the rows and columns that differ.

use std::collections::BTreeMap;

use super::report::{Difference, DifferenceKind, Values};

/// More of a value is not shown.
const VALUE_CHARACTERS_MAX: usize = 200;

/// A row as digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowDigest {
    /// Where it stands.
    pub ctid: String,
    /// Key of the target as text; empty in a table without key.
    pub key: Vec<Option<String>>,
    /// One digest for each column of the target, or its value as a literal.
    pub columns: Vec<String>,
}

/// What differs between two sets of rows. Rows with a key are matched by it, others by all their columns. A key that
/// one end has more than once is an extra row for each time that the other end does not have it. With `shows_values` the
/// columns are values, and reported.
pub fn differences(
    names: &[String],
    shows_values: bool,
    source: Vec<RowDigest>,
    target: Vec<RowDigest>,
) -> Vec<Difference> {
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
    let shown = if shows_values { names } else { &[] };
    matched.into_values().flat_map(|(source, target)| of_one_key(names, shown, source, target)).collect()
}

fn of_one_key(
    names: &[String],
    shown_names: &[String],
    mut source: Vec<RowDigest>,
    mut target: Vec<RowDigest>,
) -> Vec<Difference> {
    // Equal rows cancel one for one.
    source.retain(|row| match target.iter().position(|other| other.columns == row.columns) {
        Some(at) => {
            target.remove(at);
            false
        }
        None => true,
    });
    let pairs = source.len().min(target.len());
    let alone = |row: RowDigest, kind: DifferenceKind| {
        let values = shown_names.iter().zip(&row.columns).map(|(column, value)| {
            let value = Some(shortened(value));
            let (source, target) = if kind == DifferenceKind::MissingOnTarget { (value, None) } else { (None, value) };
            Values { column: column.clone(), source, target }
        });
        Difference { key: shown(&row), columns: Vec::new(), kind, values: values.collect() }
    };
    let left = source.split_off(pairs).into_iter().map(|row| alone(row, DifferenceKind::MissingOnTarget));
    let extra = target.split_off(pairs).into_iter().map(|row| alone(row, DifferenceKind::ExtraOnTarget));
    let different = source.into_iter().zip(target).map(|(source, target)| {
        let pairs = || names.iter().zip(source.columns.iter().zip(&target.columns)).filter(|(_, (a, b))| a != b);
        let columns = pairs().map(|(name, _)| name.clone()).collect();
        let values = pairs().filter(|_| !shown_names.is_empty()).map(|(column, (a, b))| Values {
            column: column.clone(),
            source: Some(shortened(a)),
            target: Some(shortened(b)),
        });
        Difference { key: shown(&source), columns, kind: DifferenceKind::DifferentColumns, values: values.collect() }
    });
    different.chain(left).chain(extra).collect()
}

/// A report is read by people.
fn shortened(value: &str) -> String {
    match value.char_indices().nth(VALUE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}… ({} characters)", &value[..end], value.chars().count()),
        None => value.to_owned(),
    }
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
        differences(&names, false, source, target).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn values_are_shown_when_they_are_asked_for() {
        let names = ["a".to_owned(), "b".to_owned()];
        let source = vec![row("s1", &["1"], &["'x'", "NULL"]), row("s2", &["2"], &["'x'", "'y'"])];
        let long = format!("'{}'", "ä".repeat(300));
        let target = vec![row("t1", &["1"], &["'x'", &long]), row("t3", &["3"], &["'z'", "NULL"])];
        let found = differences(&names, true, source, target);
        let said: Vec<String> = found.iter().map(ToString::to_string).collect();
        let shown = format!("'{}… (302 characters)", "ä".repeat(199));
        assert_eq!(
            said,
            [
                format!("row (1) differs in b; b: NULL on the source, {shown} on the target"),
                "row (2) is missing on the target; a = 'x', b = 'y'".to_owned(),
                "row (3) is on the target only; a = 'z', b = NULL".to_owned(),
            ]
        );
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
