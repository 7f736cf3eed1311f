//! A table of the plan as the run needs it: its projection, its key, and what the stream must look like.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio_postgres::Client;

use super::ExecError;
use super::fit::{Fit, fit};
use super::seen::Seen;
use crate::catalog::{Ident, QualifiedName, ReplicaIdentity, Table};
use crate::ledger::added::AddedColumn;
use crate::pg::pgoutput::{self, Relation, Tuple};
use crate::plan::{OnDdl, Op, Plan};
use crate::projection::{KeyOrder, Projection, RowIdentity};
use crate::replay::{Key, KeyValue};

/// One table of the run.
#[derive(Debug, Clone)]
pub struct TableTask {
    /// Number in the plan: the router's index.
    pub index: usize,
    /// Name as the ledger writes it: the target's, or the source's where the target has several.
    pub name: String,
    /// The projection.
    pub projection: Projection,
    /// The source table at plan time.
    pub source: Arc<Table>,
    /// Frozen defaults as SQL literals, by target column.
    pub frozen: BTreeMap<Ident, String>,
    /// Target columns GENERATED ALWAYS AS IDENTITY.
    pub identity_always: BTreeSet<Ident>,
    /// Position of each key column among the source columns.
    pub key_at: Vec<usize>,
    /// Order of each key column; empty when it has no key whose order pcrd knows.
    pub orders: Vec<KeyOrder>,
    /// Rows of the source table by the planner's estimate, for progress.
    pub rows_estimate: Option<u64>,
    /// What the stream's description of the table must say: name, type oid, typmod.
    pub published: Vec<(String, u32, i32)>,
    /// The publication that the stream reads.
    pub publication: Ident,
    /// The source table before its first row was read.
    pub witness: Option<Seen>,
    /// What becomes of the run when the source table gets another column.
    pub on_ddl: OnDdl,
    /// Columns that came since the plan and are there; those that are followed are in the projection too.
    pub added: Vec<AddedColumn>,
    /// Columns that came and are gone again.
    pub came_and_went: BTreeSet<String>,
    /// Set when it is the source's table that takes what goes back to it.
    pub back: Option<BackTable>,
}

/// A table of the source on the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackTable {
    /// It has rows that the target does not know: a filter or an operator left them out.
    pub has_others: bool,
}

/// The tables of the plan, in its order. Frozen defaults and published columns are filled in later.
pub fn tasks(plan: &Plan) -> Result<Vec<TableTask>, ExecError> {
    plan.projections
        .iter()
        .enumerate()
        .map(|(index, projection)| {
            let stale = |difference: &str| ExecError::Stale {
                what: projection.source.to_string(),
                difference: difference.to_owned(),
            };
            let source =
                plan.source.tables.get(&projection.source).ok_or_else(|| stale("the plan has no structure of it"))?;
            let position = |name: &Ident| {
                projection
                    .source_columns
                    .iter()
                    .position(|column| &column.name == name)
                    .ok_or_else(|| stale("its key is not among its columns"))
            };
            let key_at = projection.source_key().into_iter().map(position).collect::<Result<_, _>>()?;
            let orders = match &projection.identity {
                RowIdentity::OrderedKey { source, .. } => source.iter().map(|column| column.order).collect(),
                RowIdentity::Key { .. } | RowIdentity::FullRow => Vec::new(),
            };
            Ok(TableTask {
                index,
                name: projection.task().to_string(),
                projection: projection.clone(),
                source: source.clone(),
                frozen: BTreeMap::new(),
                identity_always: identity_always(plan, &projection.target),
                key_at,
                orders,
                rows_estimate: None,
                published: Vec::new(),
                publication: plan.settings.publication.clone(),
                witness: None,
                on_ddl: plan.settings.on_ddl,
                added: Vec::new(),
                came_and_went: BTreeSet::new(),
                back: None,
            })
        })
        .collect()
}

fn identity_always(plan: &Plan, target: &QualifiedName) -> BTreeSet<Ident> {
    let columns = plan.steps.iter().filter_map(|step| match &step.op {
        Op::CreateTable(create) if &create.name == target => Some(&create.columns),
        _ => None,
    });
    columns
        .flatten()
        .filter(|column| column.identity.as_ref().is_some_and(|identity| identity.always))
        .map(|column| column.name.clone())
        .collect()
}

impl TableTask {
    /// True when it is copied in lanes of key ranges; all others are copied whole, under the slot's snapshot.
    pub fn in_lanes(&self) -> bool {
        self.projection.is_copied_by_key()
    }

    /// True when its rows are routed, named and compared by a key whose order pcrd knows, however they are copied.
    pub fn is_ordered(&self) -> bool {
        !self.orders.is_empty()
    }

    /// Reads the types that the stream will announce.
    pub async fn read_published(&mut self, source: &Client) -> Result<(), ExecError> {
        let rows = source
            .query(
                "SELECT a.attname::text, a.atttypid, a.atttypmod FROM pg_catalog.pg_attribute a \
                 JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
                &[&self.projection.source.schema.as_str(), &self.projection.source.name.as_str()],
            )
            .await
            .map_err(ExecError::source("read the columns of a published table"))?;
        let row = source
            .query_one(&crate::sql::range::estimate(&self.projection), &[])
            .await
            .map_err(ExecError::source("estimate rows"))?;
        // Of a filtered table nobody knows how many rows belong.
        let estimate = u64::try_from(row.get::<_, i64>(0)).ok().filter(|rows| *rows > 0);
        self.rows_estimate = estimate.filter(|_| self.projection.filter.is_none());
        self.published = rows
            .iter()
            .map(|row| (row.get::<_, String>(0), row.get(1), row.get(2)))
            .filter(|(name, ..)| self.projection.source_columns.iter().any(|column| column.name.as_str() == name))
            .collect();
        Ok(())
    }

    /// True when a description has the table's name.
    pub(super) fn is_called(&self, relation: &Relation) -> bool {
        let name = self.source_name();
        name.schema.as_str() == relation.schema && name.name.as_str() == relation.name
    }

    /// Compares the stream's description of the table with the plan's and with what came since.
    pub fn check_relation(&self, relation: &Relation) -> Result<Fit, ExecError> {
        let found: Vec<(String, u32, i32)> =
            relation.columns.iter().map(|column| (column.name.clone(), column.type_oid, column.typmod)).collect();
        if let Some(witness) = &self.witness
            && witness.oid() != relation.oid
        {
            let difference = format!(
                "the stream has another table of its name (its oid was {}, is {})",
                witness.oid(),
                relation.oid
            );
            return Err(ExecError::Stale { what: self.projection.source.to_string(), difference });
        }
        if !self.is_called(relation) {
            let difference = format!("the stream has changes of it as {}.{}", relation.schema, relation.name);
            return Err(ExecError::Stale { what: self.projection.source.to_string(), difference });
        }
        if !self.is_identity(relation) {
            let difference = "its replica identity is not what it was: old rows do not have the key";
            return Err(ExecError::Stale {
                what: self.projection.source.to_string(),
                difference: difference.to_owned(),
            });
        }
        if found == self.published {
            return Ok(Fit::default());
        }
        if let Some(fit) = fit(self, &found)? {
            return Ok(fit);
        }
        let names = |list: &[(String, u32, i32)]| list.iter().map(|(name, ..)| name.clone()).collect::<Vec<_>>();
        let (before, after) = (names(&self.published), names(&found));
        let mut parts = Vec::new();
        for name in before.iter().filter(|name| !after.contains(name)) {
            parts.push(format!("column {name} is gone"));
        }
        for name in after.iter().filter(|name| !before.contains(name)) {
            parts.push(format!("column {name} is new"));
        }
        for (name, ty, typmod) in &found {
            if self
                .published
                .iter()
                .any(|(old, old_ty, old_typmod)| old == name && (old_ty, old_typmod) != (ty, typmod))
            {
                parts.push(format!("column {name} has another type"));
            }
        }
        if parts.is_empty() {
            parts.push("its columns are in another order".to_owned());
        }
        Err(ExecError::Stale { what: self.projection.source.to_string(), difference: parts.join(", ") })
    }

    /// True when old rows of the stream carry the columns that they carried when the table was planned for.
    fn is_identity(&self, relation: &Relation) -> bool {
        let found = relation.replica_identity;
        let columns: Option<Vec<&Ident>> = match &self.source.replica_identity {
            ReplicaIdentity::Full => return found == pgoutput::ReplicaIdentity::Full,
            ReplicaIdentity::Nothing => return found == pgoutput::ReplicaIdentity::Nothing,
            ReplicaIdentity::Default if found == pgoutput::ReplicaIdentity::Default => {
                self.source.primary_key.as_ref().map(|key| key.columns.iter().collect())
            }
            ReplicaIdentity::Index(name) if found == pgoutput::ReplicaIdentity::Index => {
                let index = self.source.indexes.get(name);
                index.map(|index| index.elements.iter().filter_map(|element| element.column.as_ref()).collect())
            }
            ReplicaIdentity::Default | ReplicaIdentity::Index(_) => None,
        };
        // An index may have more columns than its key has: what counts is that every column that is announced was there.
        columns.is_some_and(|columns| {
            let announced = relation.columns.iter().filter(|column| column.is_key);
            let announced: BTreeSet<&str> = announced.map(|column| column.name.as_str()).collect();
            announced == columns.iter().map(|column| column.as_str()).collect()
        })
    }

    /// The key of a tuple that has all key columns.
    pub fn key(&self, tuple: &Tuple) -> Result<Key, ExecError> {
        self.key_at
            .iter()
            .zip(&self.orders)
            .map(|(&at, &order)| {
                let text = tuple.text(at).ok_or_else(|| self.bad_key("a key column has no value in the stream"))?;
                let text = std::str::from_utf8(text).map_err(|_| self.bad_key("a key value is not UTF-8"))?;
                KeyValue::parse(order, text).map_err(|error| self.bad_key(&error.to_string()))
            })
            .collect()
    }

    /// The texts of the key columns of a tuple.
    pub fn key_texts(&self, tuple: &Tuple) -> Result<Vec<String>, ExecError> {
        self.key_at
            .iter()
            .map(|&at| {
                let text = tuple.text(at).ok_or_else(|| self.bad_key("a key column has no value in the stream"))?;
                String::from_utf8(text.to_vec()).map_err(|_| self.bad_key("a key value is not UTF-8"))
            })
            .collect()
    }

    /// Reads the key of a bound that the ledger or a query gave as texts.
    pub fn parse_key(&self, texts: &[String]) -> Result<Key, ExecError> {
        if texts.len() != self.orders.len() {
            return Err(self.bad_key("a bound has another number of columns than the key"));
        }
        texts
            .iter()
            .zip(&self.orders)
            .map(|(text, &order)| KeyValue::parse(order, text).map_err(|error| self.bad_key(&error.to_string())))
            .collect()
    }

    /// The texts of a key.
    pub fn key_literals(&self, key: &Key) -> Result<Vec<String>, ExecError> {
        key.iter()
            .zip(&self.orders)
            .map(|(value, &order)| value.text(order).map_err(|error| self.bad_key(&error.to_string())))
            .collect()
    }

    fn bad_key(&self, why: &str) -> ExecError {
        ExecError::Stale { what: format!("key of {}", self.projection.source), difference: why.to_owned() }
    }

    /// The source's name.
    pub fn source_name(&self) -> &QualifiedName {
        &self.projection.source
    }
}
