//! The same question to both ends.

use std::collections::BTreeSet;

use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::exec::ExecError;
use crate::plan::{End, HashKind, Plan};
use crate::projection::Projection;
use crate::sql::hash::{self, Columns, Digest, Keys, Rows};
use crate::sql::range::Counted;
use crate::sql::{Frozen, KeyRange, Side, range};
use crate::verify::{self, Difference, RowDigest};

/// Key values in text form, in key order.
pub type KeyTexts = Vec<String>;

/// What is compared, and how.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// How source rows become target rows.
    pub projection: &'a Projection,
    /// Values of frozen defaults.
    pub frozen: &'a Frozen,
    /// The digest that both ends compute.
    pub digest: Digest,
    /// Rows that differ are reported with their values.
    pub shows_values: bool,
}

/// A subject on two servers.
#[derive(Clone, Copy)]
pub struct Sides<'a> {
    /// The source, or a transaction on it.
    pub source: &'a Client,
    /// The target, or a transaction on it.
    pub target: &'a Client,
    /// What is compared.
    pub subject: Subject<'a>,
}

/// Which rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// `lo <= key < hi`; `None` is unbounded.
    Range {
        /// First key.
        lo: Option<KeyTexts>,
        /// First key after it.
        hi: Option<KeyTexts>,
    },
    /// These keys.
    Keys(Vec<KeyTexts>),
}

/// Digest of a set of rows: equal for equal multisets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// Rows.
    pub rows: u64,
    /// Sums of two hashes, decimal.
    hashes: [String; 2],
}

/// Digests of one set of rows on both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// Of the source's rows, as the target should have them.
    pub source: Sum,
    /// Of the target's rows.
    pub target: Sum,
}

impl Sums {
    /// The same rows on both ends.
    pub fn equal(&self) -> bool {
        self.source == self.target
    }
}

/// The digest of a plan: what both of its servers compute alike.
pub fn digest(plan: &Plan) -> Digest {
    let (source, target) = (&plan.source.server, &plan.target.server);
    let digest = Digest::between(source.major(), target.major());
    match plan.settings.comparison.hash {
        HashKind::Fast if source.encoding == target.encoding => digest,
        HashKind::Fast | HashKind::Sha256 => digest.paranoid(),
    }
}

/// Wraps an error of one side.
pub(super) fn failed(side: Side, doing: String) -> impl FnOnce(tokio_postgres::Error) -> ExecError {
    let side = match side {
        Side::Source => End::Source,
        Side::Target => End::Target,
    };
    move |error| ExecError::Postgres { side, doing, error: error.into() }
}

impl<'a> Sides<'a> {
    pub(super) fn client(&self, side: Side) -> &'a Client {
        match side {
            Side::Source => self.source,
            Side::Target => self.target,
        }
    }

    /// Names of the target columns, as digests are ordered.
    fn column_names(&self) -> Vec<String> {
        let Projection { columns, computed, .. } = self.subject.projection;
        let written = columns.iter().map(|column| &column.target);
        written.chain(computed.iter().map(|column| &column.target)).map(|name| name.as_str().to_owned()).collect()
    }

    /// What is being done, for errors.
    pub(super) fn doing(&self, side: Side) -> String {
        match side {
            Side::Source => format!("read {} for comparison", self.subject.projection.source),
            Side::Target => format!("read {} for comparison", self.subject.projection.target),
        }
    }

    /// Digest of a selection without some keys, on one side.
    pub async fn sum(&self, side: Side, selection: &Selection, except: &[KeyTexts]) -> Result<Sum, ExecError> {
        let Subject { projection, frozen, digest, .. } = self.subject;
        let asked = Asked::new(projection, side, selection, except)?;
        let inner = hash::chunk(projection, frozen, digest, asked.rows(side))?;
        let query =
            format!("SELECT c, CAST(x AS pg_catalog.text), CAST(y AS pg_catalog.text) FROM ({inner}) AS sums(c, x, y)");
        let row =
            self.client(side).query_one(&query, &asked.parameters()).await.map_err(failed(side, self.doing(side)))?;
        Ok(Sum { rows: row.get::<_, i64>(0) as u64, hashes: [row.get(1), row.get(2)] })
    }

    /// Digests of a selection without some keys, on both sides at the same time. Only where both are at rest or in
    /// transactions that have their snapshots.
    pub async fn sums(&self, selection: &Selection, except: &[KeyTexts]) -> Result<Sums, ExecError> {
        let (source, target) =
            tokio::try_join!(self.sum(Side::Source, selection, except), self.sum(Side::Target, selection, except),)?;
        Ok(Sums { source, target })
    }

    /// Every row of a selection without some keys, by digests.
    pub async fn rows(
        &self,
        side: Side,
        selection: &Selection,
        except: &[KeyTexts],
    ) -> Result<Vec<RowDigest>, ExecError> {
        let asked = Asked::new(self.subject.projection, side, selection, except)?;
        let query = self.row_digests(asked.rows(side))?;
        self.read_rows(side, &query, &asked.parameters()).await
    }

    /// The query for single rows: by digests, or by values if they are to be shown.
    pub(super) fn row_digests(&self, rows: Rows<'_>) -> Result<String, ExecError> {
        let Subject { projection, frozen, digest, shows_values } = self.subject;
        let columns = if shows_values { Columns::Values } else { Columns::Digests };
        Ok(hash::row_digests(projection, frozen, (digest, columns), rows)?)
    }

    /// What differs between rows of both ends.
    pub(super) fn differences(&self, source: Vec<RowDigest>, target: Vec<RowDigest>) -> Vec<Difference> {
        verify::differences(&self.column_names(), self.subject.shows_values, source, target)
    }

    pub(super) async fn read_rows(
        &self,
        side: Side,
        query: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<RowDigest>, ExecError> {
        let found = self.client(side).query(query, parameters).await.map_err(failed(side, self.doing(side)))?;
        let keys = self.subject.projection.target_key().len();
        Ok(found
            .iter()
            .map(|row| RowDigest {
                ctid: row.get(0),
                key: (1..=keys).map(|at| row.get(at)).collect(),
                columns: (keys + 1..row.len()).map(|at| row.get(at)).collect(),
            })
            .collect())
    }

    /// The source's key that many rows after the start of a range; `None` when the range has fewer.
    pub async fn key_after(
        &self,
        lo: Option<&KeyTexts>,
        hi: Option<&KeyTexts>,
        rows: u64,
        counted: Counted,
    ) -> Result<Option<KeyTexts>, ExecError> {
        let range = KeyRange { lo: lo.map(Vec::as_slice), hi: hi.map(Vec::as_slice) };
        let query = range::next_key(self.subject.projection, range, rows, counted)?;
        let row = self.source.query_opt(&query, &[]).await.map_err(failed(Side::Source, self.doing(Side::Source)))?;
        Ok(row.map(|row| (0..row.len()).map(|at| row.get(at)).collect()))
    }
}

/// A selection as SQL of one side.
struct Asked {
    predicate: Option<String>,
    keys: Keys,
    /// One array for each key column.
    arrays: Vec<Vec<String>>,
}

impl Asked {
    fn new(projection: &Projection, side: Side, selection: &Selection, except: &[KeyTexts]) -> Result<Self, ExecError> {
        let columns = projection.source_key().len();
        let by_column = |keys: &mut dyn Iterator<Item = &KeyTexts>| {
            let mut arrays = vec![Vec::new(); columns];
            for key in keys {
                for (array, value) in arrays.iter_mut().zip(key) {
                    array.push(value.clone());
                }
            }
            arrays
        };
        Ok(match selection {
            Selection::Range { lo, hi } => {
                let bounds = KeyRange { lo: lo.as_deref(), hi: hi.as_deref() };
                let predicate = range::range_predicate(projection, side, bounds)?;
                if except.is_empty() {
                    Self { predicate, keys: Keys::All, arrays: Vec::new() }
                } else {
                    Self { predicate, keys: Keys::Except, arrays: by_column(&mut except.iter()) }
                }
            }
            Selection::Keys(keys) => {
                let except: BTreeSet<&KeyTexts> = except.iter().collect();
                let mut kept = keys.iter().filter(|key| !except.contains(key));
                Self { predicate: None, keys: Keys::Only, arrays: by_column(&mut kept) }
            }
        })
    }

    fn rows(&self, side: Side) -> Rows<'_> {
        Rows { side, predicate: self.predicate.as_deref(), keys: self.keys }
    }

    fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.arrays.iter().map(|array| array as &(dyn ToSql + Sync)).collect()
    }
}
