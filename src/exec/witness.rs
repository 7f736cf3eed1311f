//! What tells that rows of a source table changed, or mean something else, without a change in the stream: the table was
//! dropped and created again, rewritten by ALTER TABLE, or a label of an enum was renamed. The shape may be the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::ExecError;
use super::context::Run;
use super::table::TableTask;
use crate::catalog::QualifiedName;
use crate::ledger::{LedgerError, migration};
use crate::pg::client::Client;

/// `xmin` of a column's catalog row is the transaction that last altered the column; of a publication's, what it
/// publishes. A table that is taken out of a publication and put back has a new entry there.
const SQL: &str = "SELECT c.oid, c.relfilenode, \
     (SELECT pg_catalog.string_agg(a.xmin::text, ',' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a \
      WHERE a.attrelid = c.oid AND a.attnum > 0), \
     ARRAY(SELECT pg_catalog.concat(n.nspname, '.', t.typname, ': ', e.enumlabel) FROM pg_catalog.pg_enum e \
      JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
      WHERE e.enumtypid IN (SELECT pg_catalog.unnest(ARRAY[u.oid, u.typelem, u.typbasetype]) FROM pg_catalog.pg_attribute a \
        JOIN pg_catalog.pg_type u ON u.oid = a.atttypid WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) \
      ORDER BY 1), \
     (SELECT pg_catalog.concat(p.oid, ' ', p.xmin, ' ', r.oid) FROM pg_catalog.pg_publication p \
      JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid WHERE p.pubname = $3::text AND r.prrelid = c.oid), \
     ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 \
      AND NOT a.attisdropped ORDER BY a.attnum), \
     ARRAY(SELECT a.attnum FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 \
      AND NOT a.attisdropped ORDER BY a.attnum), c.relnatts \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1::text AND c.relname = $2::text";

/// One look at a source table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// OID of the table.
    pub oid: u32,
    /// Number of its file: VACUUM FULL, CLUSTER, TRUNCATE and rewrites change it.
    file: u32,
    /// The transactions that last altered its columns.
    columns: String,
    /// Labels of the enums that it uses.
    labels: Vec<String>,
    /// The publication and its entry of the table.
    #[serde(default)]
    published: Option<String>,
    /// `attnum`s of the columns that matter: of one that is dropped and added again the values are others.
    #[serde(default)]
    numbers: BTreeMap<String, i16>,
    /// The last `attnum` that was given at the first look, for those that came and went since.
    #[serde(default)]
    last: Option<i16>,
}

/// The last look, which all tasks of a run compare with.
#[derive(Debug, Clone)]
pub struct Seen(Arc<Mutex<Witness>>);

impl Seen {
    fn new(witness: Witness) -> Self {
        Self(Arc::new(Mutex::new(witness)))
    }

    fn get(&self) -> Witness {
        self.0.lock().expect("no task panics while it holds a look").clone()
    }

    fn set(&self, witness: Witness) {
        *self.0.lock().expect("no task panics while it holds a look") = witness;
    }

    /// OID of the table.
    pub fn oid(&self) -> u32 {
        self.get().oid
    }
}

impl Witness {
    /// Looks at a table; `None` when there is none of this name.
    pub async fn read(source: &Client, task: &TableTask) -> Result<Option<Self>, ExecError> {
        let table = task.source_name();
        let doing = || ExecError::source("look at the table's identity");
        let query = source.prepared(SQL).await.map_err(doing())?;
        let row = source
            .query_opt(&query, &[&table.schema.as_str(), &table.name.as_str(), &task.publication.as_str()])
            .await
            .map_err(doing())?;
        // A column that stays behind may go again.
        let stays = |name: &str| task.added.iter().any(|added| !added.followed && added.column.name.as_str() == name);
        Ok(row.map(|row| Self {
            oid: row.get(0),
            file: row.get(1),
            columns: row.get::<_, Option<String>>(2).unwrap_or_default(),
            labels: row.get(3),
            published: row.get(4),
            numbers: row
                .get::<_, Vec<String>>(5)
                .into_iter()
                .zip(row.get::<_, Vec<i16>>(6))
                .filter(|(name, _)| {
                    task.source.columns.iter().any(|column| column.name.as_str() == name) && !stays(name)
                })
                .collect(),
            last: Some(row.get(7)),
        }))
    }

    /// What happened to the table since `self`, if it is more than the stream shows. A new file alone is VACUUM FULL,
    /// CLUSTER or TRUNCATE, and an altered column alone is a grant or a statistics target.
    fn difference(&self, now: &Self) -> Option<String> {
        if self.oid != now.oid {
            return Some(format!("it was dropped and created again (its oid was {}, is {})", self.oid, now.oid));
        }
        if self.file != now.file && self.columns != now.columns {
            return Some("ALTER TABLE rewrote its rows, which the change stream does not show".to_owned());
        }
        let again = |(name, number): &(&String, &i16)| now.numbers.get(*name).is_some_and(|now| now != *number);
        if let Some((name, _)) = self.numbers.iter().find(again) {
            return Some(format!("column {name} was dropped and added again, which the change stream does not show"));
        }
        if self.published.is_some() && self.published != now.published {
            return Some(
                "the publication was altered since the migration began: what was written meanwhile may not be in the stream".to_owned(),
            );
        }
        // A new label is no harm: the target refuses a row that has it until its own type has the label too.
        let gone = self.labels.iter().find(|label| !now.labels.contains(label))?;
        Some(format!("an enum lost or renamed a label: {gone}"))
    }
}

/// Compares the table with what was recorded before its first row was read.
pub async fn check(source: &Client, task: &TableTask) -> Result<(), ExecError> {
    let Some(seen) = &task.witness else { return Ok(()) };
    compare(source, task, &seen.get()).await.map(|_now| ())
}

async fn compare(source: &Client, task: &TableTask, before: &Witness) -> Result<Witness, ExecError> {
    let stale = |difference: String| ExecError::Stale { what: task.source_name().to_string(), difference };
    let now = Witness::read(source, task).await?.ok_or_else(|| stale("it is gone".to_owned()))?;
    before.difference(&now).map_or(Ok(now), |difference| Err(stale(difference)))
}

/// Compares, and from here on compares with what is there now: a new file without an altered column was no rewrite, an
/// altered column without a new file neither. Seen apart, a GRANT and a VACUUM FULL are told from ALTER TABLE; between two
/// looks they are not, and the run stops rather than miss a rewrite.
pub async fn follow(run: &Run, ledger: &Client, source: &Client, task: &TableTask) -> Result<(), ExecError> {
    let Some(seen) = &task.witness else { return Ok(()) };
    let before = seen.get();
    let mut now = compare(source, task, &before).await?;
    now.last = before.last;
    // That a column is gone is for others to say; what it was must not be forgotten, should it come again.
    for (name, number) in &before.numbers {
        now.numbers.entry(name.clone()).or_insert(*number);
    }
    if now != before {
        migration::set_setting(ledger, &run.id, &setting(task), Some(&text(&now)?)).await?;
        seen.set(now);
    }
    Ok(())
}

/// Compares with the last look that was recorded, if there is one.
pub async fn unbroken(run: &Run, ledger: &Client, source: &Client, task: &TableTask) -> Result<(), ExecError> {
    match migration::setting(ledger, &run.id, &setting(task)).await? {
        None => Ok(()),
        Some(text) => {
            let before: Option<Witness> = serde_json::from_str(&text).map_err(damaged)?;
            let Some(before) = before else { return Ok(()) };
            compare(source, task, &before).await.map(|_now| ())
        }
    }
}

/// The oid that the table had at the last look that was recorded.
pub(super) async fn last_oid(run: &Run, ledger: &Client, table: &QualifiedName) -> Result<Option<u32>, ExecError> {
    let Some(text) = migration::setting(ledger, &run.id, &setting_of(table)).await? else { return Ok(None) };
    let seen: Option<Witness> = serde_json::from_str(&text).map_err(damaged)?;
    Ok(seen.map(|seen| seen.oid))
}

/// True when a column came since the first look and is gone, and is none of these. What the stream has of it cannot be told
/// from what it has of a later one of its name.
pub async fn has_lost(
    run: &Run,
    ledger: &Client,
    source: &Client,
    table: &QualifiedName,
    known: &[i16],
) -> Result<bool, ExecError> {
    // Before the first attempt there is no ledger, and no stream that could mix up anything.
    let there = ledger.query_one("SELECT pg_catalog.to_regclass('pcrd.setting') IS NOT NULL", &[]).await;
    if !there.map_err(ExecError::target("look for the ledger"))?.get::<_, bool>(0) {
        return Ok(false);
    }
    let Some(text) = migration::setting(ledger, &run.id, &setting_of(table)).await? else { return Ok(false) };
    let first: Option<Witness> = serde_json::from_str(&text).map_err(damaged)?;
    let Some(last) = first.and_then(|first| first.last) else { return Ok(false) };
    let row = source
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1::text AND c.relname = $2::text \
             AND a.attisdropped AND a.attnum > $3 AND a.attnum <> ALL ($4))",
            &[&table.schema.as_str(), &table.name.as_str(), &last, &known],
        )
        .await
        .map_err(ExecError::source("look for columns that came and went"))?;
    Ok(row.get(0))
}

fn setting(task: &TableTask) -> String {
    setting_of(task.source_name())
}

pub(super) fn setting_of(table: &QualifiedName) -> String {
    format!("witness:{table}")
}

fn damaged(error: serde_json::Error) -> ExecError {
    ExecError::Ledger(LedgerError::Damaged { what: "witness of a table", why: error.to_string() })
}

pub(super) fn text(witness: &Witness) -> Result<String, ExecError> {
    serde_json::to_string(witness).map_err(damaged)
}

/// Looks at every table for the first time, or finds what was recorded then. Must come before the slot: a rewrite after
/// this look and before the slot stops the run without need, one that is missed would be silent.
pub async fn remember(run: &Run, ledger: &Client, source: &Client, tasks: &mut [TableTask]) -> Result<(), ExecError> {
    for at in 0..tasks.len() {
        let (earlier, later) = tasks.split_at_mut(at);
        let task = &mut later[0];
        // One table, one look: what was seen of it for one target is what the others compare with.
        if let Some(twin) = earlier.iter().find(|twin| twin.source_name() == task.source_name()) {
            task.witness.clone_from(&twin.witness);
            continue;
        }
        let name = setting(task);
        let witness: Option<Witness> = match migration::setting(ledger, &run.id, &name).await? {
            Some(text) => Some(serde_json::from_str(&text).map_err(damaged)?),
            None => {
                let witness = Witness::read(source, task).await?;
                let text = serde_json::to_string(&witness).map_err(damaged)?;
                migration::set_setting(ledger, &run.id, &name, Some(&text)).await?;
                witness
            }
        };
        task.witness = witness.map(Seen::new);
        follow(run, ledger, source, task).await?;
    }
    Ok(())
}
