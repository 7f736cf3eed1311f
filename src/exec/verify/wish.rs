//! What is asked of one verification, and the ranges of a sample.

use serde::{Deserialize, Serialize};

use super::live::{Bounds, Visitor};
use super::sides;
use crate::exec::ExecError;
use crate::exec::table::TableTask;
use crate::plan::Plan;
use crate::replay::Key;
use crate::sql::hash::Digest;
use crate::sql::range::{self, Counted};

/// A sample is read in ranges of so many rows: single rows would each cost as much as many.
const RANGE_ROWS: u64 = 1_000;
/// Keys to choose ranges from, for each range.
const CHOICE: u64 = 50;

/// What is asked of one verification; where nothing is asked every row of every table is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wish {
    /// Target tables; none is all.
    pub tables: Vec<String>,
    /// Compare only about so many rows of a table, if it can be cut into ranges.
    pub sample_size: Option<u64>,
    /// Every table as of one moment.
    pub one_moment: bool,
    /// By SHA-256, whose collisions nobody can make.
    pub paranoid: bool,
    /// Show the values that differ.
    pub show_values: bool,
    /// Copy what differs again, and compare once more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<Asked>,
}

/// Who answers for a repair; stands in the ledger with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// User and process, for people.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Wish {
    /// As the argument of a request.
    pub fn to_request(&self) -> String {
        serde_json::to_string(self).expect("names and numbers are JSON")
    }

    /// From the argument of a request.
    ///
    /// # Errors
    /// Another version's words.
    pub fn of_request(argument: Option<&str>) -> Result<Self, String> {
        argument.map_or(Ok(Self::default()), |text| {
            serde_json::from_str(text).map_err(|error| format!("this pcrd does not know the request `{text}`: {error}"))
        })
    }

    /// True when the table is to be compared.
    pub fn takes(&self, table: &str) -> bool {
        self.tables.is_empty() || self.tables.iter().any(|wanted| wanted == table)
    }

    /// The digest to compare by.
    pub fn digest(&self, plan: &Plan) -> Digest {
        let digest = sides::digest(plan);
        if self.paranoid { digest.paranoid() } else { digest }
    }
}

/// Ranges with about so many rows, chosen by chance; `None` when the table has no more than that.
pub async fn ranges(visitor: &Visitor, task: &TableTask, rows: u64) -> Result<Option<Vec<Bounds>>, ExecError> {
    let doing = || ExecError::source(format!("choose rows of {}", task.source_name()));
    let projection = &task.projection;
    let row = visitor.source.query_one(&range::estimate(projection), &[]).await.map_err(doing())?;
    let estimate = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
    if estimate <= rows {
        return Ok(None);
    }
    let each = rows.min(RANGE_ROWS);
    let wanted = rows.div_ceil(each);
    let percent = ((wanted * CHOICE) as f64 * 100.0 / estimate as f64).clamp(0.01, 100.0);
    let found = visitor.source.query(&range::sample(projection, percent), &[]).await.map_err(doing())?;
    let keys: Vec<Vec<String>> =
        found.iter().map(|row| (0..task.orders.len()).map(|column| row.get(column)).collect()).collect();
    let mut chosen = Vec::new();
    let mut last: Option<Key> = None;
    // A sample of blocks may have none.
    let starts = if keys.is_empty() { vec![None] } else { spread(&keys, wanted as usize) };
    for lo in starts {
        if let (Some(lo), Some(last)) = (&lo, &last)
            && task.parse_key(lo)? < *last
        {
            continue;
        }
        let hi = visitor.sides(task).key_after(lo.as_ref(), None, each, Counted::All).await?;
        last = hi.as_ref().map(|hi| task.parse_key(hi)).transpose()?;
        let is_end = hi.is_none();
        chosen.push(Bounds { lo, hi });
        if is_end {
            break;
        }
    }
    Ok(Some(chosen))
}

/// So many of them, each from another part.
fn spread(keys: &[Vec<String>], wanted: usize) -> Vec<Option<Vec<String>>> {
    let wanted = wanted.min(keys.len());
    let at = |n: usize| {
        let (from, to) = (keys.len() * n / wanted, keys.len() * (n + 1) / wanted);
        rand::random_range(from..to.max(from + 1))
    };
    (0..wanted).map(|n| keys.get(at(n)).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_the_table() {
        let keys: Vec<Vec<String>> = (0..100).map(|n| vec![n.to_string()]).collect();
        for wanted in [1, 3, 10, 100, 200] {
            let chosen: Vec<usize> =
                spread(&keys, wanted).into_iter().map(|key| key.unwrap()[0].parse().unwrap()).collect();
            assert_eq!(chosen.len(), wanted.min(100));
            assert!(chosen.is_sorted());
            let part = 100 / wanted.min(100);
            assert!(chosen.iter().enumerate().all(|(n, key)| key / part.max(1) >= n.saturating_sub(1)), "{chosen:?}");
        }
    }

    #[test]
    fn requests_are_read_back() {
        let repair = Some(Asked { by: "somebody".to_owned(), reason: "a test".to_owned() });
        let tables = vec!["public.t".to_owned()];
        let wish = Wish { tables, sample_size: Some(7), one_moment: true, paranoid: true, show_values: true, repair };
        assert_eq!(Wish::of_request(Some(&wish.to_request())), Ok(wish));
        assert_eq!(Wish::of_request(None), Ok(Wish::default()));
        assert!(Wish::of_request(Some("{\"faster\": true}")).is_err());
    }
}
