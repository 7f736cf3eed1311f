//! Every statement with one token deleted, doubled or exchanged with its neighbour: what PostgreSQL does not parse we do
//! not read, and what both take means the same to both.

use std::collections::BTreeMap;

use pcrd::casts::typename;
use pcrd::desired::sql::{ConstraintKind, SqlTable, read};
use pcrd::pg::local::Cluster;
use tokio_postgres::Client;
use tokio_postgres::error::{ErrorPosition, SqlState};

use crate::mutations::{STATEMENTS, expressions, mutations};
use crate::support::{connect_to, rows, run};

/// Name, type, NOT NULL and default of every column; how many constraints; key columns.
fn ours(table: &SqlTable) -> Option<String> {
    let mut words = Vec::new();
    for column in &table.columns {
        let ty = typename::parse(&column.ty.value, &BTreeMap::new()).ok()?;
        words.push(format!(
            "{} {} {} {} {:?}",
            column.name.value.as_str(),
            ty.sql,
            column.not_null,
            column.has_default() || column.generated.is_some(),
            column.identity.as_ref().map(|identity| identity.value.always)
        ));
    }
    let key = table.constraints.iter().find_map(|constraint| match &constraint.kind {
        ConstraintKind::PrimaryKey(key) => {
            Some(key.columns.iter().map(|column| column.value.as_str()).collect::<Vec<_>>().join(","))
        }
        _ => None,
    });
    words.push(format!("{} constraints, key {}", table.constraints.len(), key.unwrap_or_default()));
    words.push(format!("{} indexes", table.indexes.len()));
    Some(words.join("; "))
}

async fn theirs(client: &Client, table: &SqlTable) -> Option<String> {
    let oid = format!("to_regclass('{}')", table.name.value.to_string().replace('\'', "''"));
    let sql = format!(
        "SELECT (SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN \
         'true' ELSE 'false' END, CASE WHEN atthasdef THEN 'true' ELSE 'false' END, CASE attidentity WHEN 'a' THEN \
         'Some(true)' WHEN 'd' THEN 'Some(false)' ELSE 'None' END), '; ' ORDER BY attnum) FROM pg_attribute WHERE \
         attrelid = {oid} AND attnum > 0), (SELECT format('%s constraints, key %s', count(*), coalesce(max(CASE WHEN \
         contype = 'p' THEN (SELECT string_agg(attname, ',' ORDER BY n) FROM unnest(conkey) WITH ORDINALITY AS k(num, n) \
         JOIN pg_attribute ON attrelid = conrelid AND attnum = num) END), '')) FROM pg_constraint WHERE conrelid = {oid} AND contype <> 'n'), \
         (SELECT format('%s indexes', count(*)) FROM pg_index i WHERE indrelid = {oid} AND NOT EXISTS (SELECT FROM \
         pg_constraint c WHERE c.conindid = i.indexrelid AND c.conrelid = i.indrelid))"
    );
    let row = rows(client, &sql).await.remove(0);
    let columns = row[0].clone()?;
    Some(format!("{columns}; {}; {}", row[1].clone().unwrap(), row[2].clone().unwrap()))
}

#[tokio::test]
async fn a_mutation_never_changes_the_meaning_silently() {
    let cluster = Cluster::start_with(18, &[("fsync", "off")]).unwrap();
    let client = connect_to(&cluster, "postgres").await;
    run(&client, "CREATE TABLE p (id integer PRIMARY KEY, x integer, y integer, UNIQUE (x, y))").await;
    let (mut n_refused, mut n_inside, mut n_same, mut wrong) = (0, 0, 0, Vec::new());
    for statement in STATEMENTS {
        let whole = read(statement);
        assert!(whole.problems.is_empty(), "{statement}: {:?}", whole.problems);
        for sql in mutations(statement) {
            let loaded = client.batch_execute(&format!("BEGIN; {sql}")).await;
            let reading = read(&sql);
            let is_read = reading.problems.is_empty();
            match &loaded {
                Ok(()) => {
                    for table in reading.schema.tables.iter().filter(|table| is_read && table.partition_of.is_none()) {
                        let Some(read) = ours(table).filter(|_| table.is_managed()) else { continue };
                        match theirs(&client, table).await {
                            Some(real) if real == read => n_same += 1,
                            real => wrong.push(format!("{sql}\n  read {read}\n  real {real:?}")),
                        }
                    }
                }
                Err(error) if error.code() == Some(&SqlState::SYNTAX_ERROR) => {
                    n_refused += 1;
                    let place = error.as_db_error().and_then(|db| db.position().cloned());
                    let at = match place {
                        Some(ErrorPosition::Original(at)) => (at as usize).saturating_sub("BEGIN; ".len() + 1),
                        _ => usize::MAX,
                    };
                    if reading
                        .schema
                        .tables
                        .iter()
                        .flat_map(expressions)
                        .any(|span| span.start <= at && at <= span.end + 2)
                    {
                        n_inside += 1;
                    } else if is_read && reading.schema.tables.iter().any(SqlTable::is_managed) {
                        wrong.push(format!("{sql}\n  is read, and PostgreSQL says {:?}", error.as_db_error()));
                    }
                }
                // A type, column or object that does not exist: the catalog's matter.
                Err(_) => {}
            }
            run(&client, "ROLLBACK").await;
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
    assert!(
        n_refused > 1000 && n_same > 40 && n_inside < 120,
        "{n_refused} refused, {n_inside} inside of expressions, {n_same} the same"
    );
}
