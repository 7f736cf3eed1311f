//! What others have on the target that would be lost, or keeps the work of a run from being taken back: no run goes on over it.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use super::ExecError;
use crate::catalog::{Ident, QualifiedName};
use crate::ledger::LedgerError;
use crate::pg::client::Client;
use crate::plan::adoption::{self, NotAdoptable};
use crate::plan::{CommentTarget, End, Op, Plan};
use crate::sql;

const REFERENCES: &str = "WITH again AS (SELECT pg_catalog.to_regclass(name) AS oid FROM pg_catalog.unnest($1::text[]) AS name), \
     gone AS (SELECT pg_catalog.to_regclass(name) AS oid FROM pg_catalog.unnest($2::text[]) AS name) \
     SELECT n.nspname::text, c.relname::text, k.conname::text, fn.nspname::text, f.relname::text, \
     k.confrelid IN (SELECT oid FROM again WHERE oid IS NOT NULL) FROM pg_catalog.pg_constraint k \
     JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_class f ON f.oid = k.confrelid JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace \
     WHERE k.contype = 'f' AND coalesce((pg_catalog.to_jsonb(k)->>'conparentid')::pg_catalog.int8, 0) = 0 AND (k.confrelid IN (SELECT oid FROM again) OR k.conindid IN (SELECT oid FROM gone)) \
     AND k.conrelid NOT IN (SELECT oid FROM again WHERE oid IS NOT NULL)";

/// What there is on tables, in words, each with the table's name as it was given.
const OBJECTS: &str = "WITH RECURSIVE t AS (SELECT name, c.* FROM pg_catalog.unnest($1::text[]) AS name \
       JOIN (SELECT oid AS relation, relowner, relacl, reloptions, relrowsecurity FROM pg_catalog.pg_class) c \
       ON c.relation = pg_catalog.to_regclass(name)), \
     tree AS (SELECT name, h.inhrelid FROM t JOIN pg_catalog.pg_inherits h ON h.inhparent = relation \
       UNION ALL SELECT name, h.inhrelid FROM tree JOIN pg_catalog.pg_inherits h ON h.inhparent = tree.inhrelid), \
     a AS (SELECT name, relation, attnum, attname, attacl FROM t JOIN pg_catalog.pg_attribute ON attrelid = relation \
       AND attnum > 0 AND NOT attisdropped), \
     grants AS (SELECT name, '' AS of_column, g.* FROM t, pg_catalog.aclexplode(coalesce(relacl, pg_catalog.acldefault('r', relowner))) g \
       UNION ALL SELECT name, pg_catalog.concat(' of column ', attname), g.* FROM a, pg_catalog.aclexplode(attacl) g) \
     SELECT name, 'index ' || i.relname FROM t JOIN pg_catalog.pg_index x ON x.indrelid = relation \
       JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid \
       WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.oid AND k.conrelid = relation) \
     UNION ALL SELECT name, 'constraint ' || conname FROM t JOIN pg_catalog.pg_constraint ON conrelid = relation AND contype <> 'n' \
     UNION ALL SELECT name, 'trigger ' || tgname FROM t JOIN pg_catalog.pg_trigger ON tgrelid = relation AND NOT tgisinternal \
     UNION ALL SELECT name, 'policy ' || polname FROM t JOIN pg_catalog.pg_policy ON polrelid = relation \
     UNION ALL SELECT name, 'rule ' || rulename FROM t JOIN pg_catalog.pg_rewrite ON ev_class = relation \
     UNION ALL SELECT name, 'statistics ' || stxname FROM t JOIN pg_catalog.pg_statistic_ext ON stxrelid = relation \
     UNION ALL SELECT name, 'place in publication ' || pubname FROM t JOIN pg_catalog.pg_publication_rel r ON prrelid = relation \
       JOIN pg_catalog.pg_publication p ON p.oid = prpubid \
     UNION ALL SELECT name, 'column ' || attname FROM a \
     UNION ALL SELECT name, 'setting ' || setting FROM t, pg_catalog.unnest(reloptions) setting \
     UNION ALL SELECT name, pg_catalog.concat('partition ', n.nspname, '.', c.relname) FROM tree \
       JOIN pg_catalog.pg_class c ON c.oid = tree.inhrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
       WHERE c.relispartition \
     UNION ALL SELECT name, 'row security' FROM t WHERE relrowsecurity \
     UNION ALL SELECT name, 'owner ' || pg_catalog.pg_get_userbyid(relowner) FROM t \
     UNION ALL SELECT name, 'comment' FROM t JOIN pg_catalog.pg_description ON objoid = relation \
       AND classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND objsubid = 0 \
     UNION ALL SELECT name, 'comment on column ' || attname FROM a JOIN pg_catalog.pg_description ON objoid = relation \
       AND classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND objsubid = attnum \
     UNION ALL SELECT name, pg_catalog.concat('grant of ', privilege_type, of_column, ' to ', \
       CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(grantee)::text END) FROM grants";

/// An object on a table of the target, in words.
type Object = (QualifiedName, String);

/// Foreign keys of tables that stay, to tables that are copied again and to keys that the new plan has otherwise.
///
/// # Errors
/// [`ExecError::NotAdoptable`] when one of them is not the run's own.
pub(super) async fn references(
    before: &Plan,
    after: &Plan,
    restarted: &BTreeMap<QualifiedName, String>,
    ledger: &Client,
) -> Result<BTreeSet<(QualifiedName, Ident)>, ExecError> {
    let names: Vec<String> = restarted.keys().map(sql::name).collect();
    let of_gone = |(table, name): (&QualifiedName, &Ident)| {
        sql::name(&QualifiedName { schema: table.schema.clone(), name: name.clone() })
    };
    let gone: Vec<String> = adoption::gone(before, after).into_iter().map(of_gone).collect();
    let rows = ledger.query(REFERENCES, &[&names, &gone]).await.map_err(ExecError::target("look for foreign keys"))?;
    let mut found = BTreeSet::new();
    for row in rows {
        let name = |at: usize| {
            Ident::new(row.get::<_, String>(at)).map_err(|error| ExecError::Stale {
                what: "name on the target".to_owned(),
                difference: error.to_string(),
            })
        };
        let table = QualifiedName { schema: name(0)?, name: name(1)? };
        let constraint = name(2)?;
        let is_ours = before.steps.iter().any(|step| match &step.op {
            Op::AddConstraint(add) => add.table == table && add.name == constraint,
            _ => false,
        });
        if !is_ours {
            let referred = QualifiedName { schema: name(3)?, name: name(4)? };
            let constraint = format!("{table}.{constraint}");
            let is_again: bool = row.get(5);
            return Err(if is_again {
                NotAdoptable::Reference { table: referred, constraint }.into()
            } else {
                NotAdoptable::ReferenceToKey { table: referred, constraint }.into()
            });
        }
        found.insert((table, constraint));
    }
    Ok(found)
}

/// What is on these tables and was not put there by the run: by the plan that created them, or as one of these columns.
pub(super) async fn of_others(
    transaction: &Transaction<'_>,
    (before, after): (&Plan, &Plan),
    followed: &BTreeSet<(QualifiedName, Ident)>,
    tables: &BTreeSet<QualifiedName>,
) -> Result<BTreeSet<Object>, ExecError> {
    let mut found = objects(transaction, tables).await?;
    for (table, column) in followed {
        found.remove(&(table.clone(), format!("column {}", column.as_str())));
    }
    for step in &before.steps {
        for own in own(&step.op) {
            found.remove(&own);
        }
    }
    // One that the source got since is made again.
    for step in &after.steps {
        if let Op::CreateTable(create) = &step.op {
            for one in create.partitioning.iter().flat_map(|whole| &whole.partitions) {
                found.remove(&(create.name.clone(), partition(&one.name)));
            }
        }
    }
    Ok(found)
}

/// Refuses when something of it is not on the tables as they are now: what defaults of the server put there again is not lost.
///
/// # Errors
/// [`NotAdoptable::WouldLose`] with all of it.
pub(super) async fn none_lost(
    transaction: &Transaction<'_>,
    others: BTreeSet<Object>,
    tables: &BTreeSet<QualifiedName>,
) -> Result<(), ExecError> {
    if others.is_empty() {
        return Ok(());
    }
    let now = objects(transaction, tables).await?;
    let lost: Vec<String> = others.difference(&now).map(|(table, object)| format!("{object} on {table}")).collect();
    if lost.is_empty() { Ok(()) } else { Err(NotAdoptable::WouldLose(lost.join(", ")).into()) }
}

async fn objects(
    transaction: &Transaction<'_>,
    tables: &BTreeSet<QualifiedName>,
) -> Result<BTreeSet<Object>, ExecError> {
    if tables.is_empty() {
        return Ok(BTreeSet::new());
    }
    let names: BTreeMap<String, &QualifiedName> = tables.iter().map(|table| (sql::name(table), table)).collect();
    let asked: Vec<&str> = names.keys().map(String::as_str).collect();
    let rows =
        transaction.query(OBJECTS, &[&asked]).await.map_err(ExecError::target("look at what is on the tables"))?;
    let object = |row: &tokio_postgres::Row| {
        let table = names.get(row.get::<_, &str>(0))?;
        Some(((*table).clone(), row.get(1)))
    };
    Ok(rows.iter().filter_map(object).collect())
}

/// What a step puts on a table of its own.
fn own(op: &Op) -> Vec<Object> {
    let on = |table: &QualifiedName, object: String| (table.clone(), object);
    match op {
        Op::CreateTable(create) => {
            let columns = create.columns.iter().map(|column| format!("column {}", column.name.as_str()));
            let key = create.key.iter().map(|key| format!("constraint {}", key.name.as_str()));
            let settings = create.reloptions.iter().map(|option| format!("setting {option}"));
            let partitions = create.partitioning.iter().flat_map(|whole| &whole.partitions);
            let partitions = partitions.map(|one| partition(&one.name));
            columns.chain(key).chain(settings).chain(partitions).map(|object| on(&create.name, object)).collect()
        }
        Op::CreateIndex(op) => vec![on(&op.table, format!("index {}", op.name.as_str()))],
        Op::CreateStatistics(op) => vec![on(&op.table, format!("statistics {}", op.name.name.as_str()))],
        Op::AddConstraint(op) => vec![on(&op.table, format!("constraint {}", op.name.as_str()))],
        Op::SetComment(op) => match &op.on {
            CommentTarget::Table(table) => vec![on(table, "comment".to_owned())],
            CommentTarget::Column(at) => vec![on(&at.table, format!("comment on column {}", at.column.as_str()))],
            CommentTarget::Index(_)
            | CommentTarget::Constraint(_)
            | CommentTarget::Sequence(_)
            | CommentTarget::Statistics(_) => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn partition(name: &QualifiedName) -> String {
    format!("partition {}.{}", name.schema.as_str(), name.name.as_str())
}

/// Says in words that a server has no room for the locks: its transaction is over, and nothing was changed.
pub(super) async fn room<T>(
    result: Result<T, ExecError>,
    (end, client): (End, &Client),
    tables: usize,
) -> Result<T, ExecError> {
    let is_full = match &result {
        Err(ExecError::Postgres { side, error, .. }) => *side == end && error.sqlstate() == Some("53200"),
        Err(ExecError::Ledger(LedgerError::Postgres(error))) => {
            end == End::Target && error.code() == Some(&SqlState::OUT_OF_MEMORY)
        }
        _ => false,
    };
    if !is_full {
        return result;
    }
    let query = "SELECT pg_catalog.current_setting('max_locks_per_transaction')";
    let row = client.query_one(query, &[]).await.map_err(|error| ExecError::Postgres {
        side: end,
        doing: "read max_locks_per_transaction".to_owned(),
        error: error.into(),
    })?;
    Err(NotAdoptable::Locks { end, tables, max: row.get(0) }.into())
}
