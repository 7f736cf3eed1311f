//! Which databases the demo may touch: those that it marked itself, and empty ones.

use tokio_postgres::Client as Session;

use super::error::DemoError;
use crate::catalog::Ident;
use crate::pg::client::{Client, connect};
use crate::pg::conninfo::Conninfo;
use crate::sql;

/// The comment on a database that makes it ours. A comment, not a table: nothing to show up in a plan.
pub const MARK: &str = "pcrd demo: `pcrd demo reset` drops the tables users, agents and listings here";

/// The demo's tables; later ones refer to earlier ones.
pub const TABLES: [&str; 3] = ["users", "agents", "listings"];

/// Relations, types and functions of users, whoever made them, and schemas other than the usual ones. What an
/// extension brings belongs to the extension.
const OBJECTS: &str = "
    SELECT what FROM (
        SELECT n.nspname || '.' || c.relname AS what, 'pg_class'::regclass AS class, c.oid, n.nspname
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
        UNION ALL
        SELECT n.nspname || '.' || p.proname || '()', 'pg_proc'::regclass, p.oid, n.nspname
          FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        UNION ALL
        SELECT n.nspname || '.' || t.typname, 'pg_type'::regclass, t.oid, n.nspname
          FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype IN ('e', 'd', 'r')
        UNION ALL
        SELECT 'schema ' || n.nspname, 'pg_namespace'::regclass, n.oid, n.nspname
          FROM pg_namespace n WHERE n.nspname <> 'public'
    ) found
    WHERE nspname <> 'information_schema' AND left(nspname, 3) <> 'pg_'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = found.class AND d.objid = found.oid AND d.deptype = 'e')
    ORDER BY what LIMIT 4";

/// Creates the three tables, dropping them first if the database is marked. Marks an empty database.
///
/// # Errors
/// [`DemoError::NotDemo`] if the database holds anything and is not marked; nothing was changed then.
pub async fn setup(info: &Conninfo) -> Result<(), DemoError> {
    let mut client = connect(info, "pcrd-demo/setup").await?;
    let transaction = client.transaction().await?;
    mark_in(transaction.client(), &info.database).await?;
    drop_tables(transaction.client()).await?;
    transaction.batch_execute(include_str!("schema.sql")).await?;
    transaction.commit().await?;
    Ok(())
}

/// Empties a marked database: the tables, and what migrations left (slots, publications, the schema `pcrd`).
/// On the source, [`setup`] then makes the tables again.
///
/// # Errors
/// [`DemoError::NotSetUp`] if the database is not marked.
pub async fn reset(info: &Conninfo) -> Result<(), DemoError> {
    let mut client = connect(info, "pcrd-demo/reset").await?;
    check_marked(&client, &info.database).await?;
    drop_slots(&client).await?;
    let transaction = client.transaction().await?;
    drop_tables(transaction.client()).await?;
    let publications = "SELECT pubname FROM pg_publication WHERE left(pubname, 5) = 'pcrd_' ORDER BY pubname";
    for row in transaction.query(publications, &[]).await? {
        let name: Ident = parse_name(row.get(0))?;
        transaction.batch_execute(&format!("DROP PUBLICATION {}", sql::ident(&name))).await?;
    }
    transaction.batch_execute("DROP SCHEMA IF EXISTS pcrd CASCADE").await?;
    transaction.commit().await?;
    Ok(())
}

/// Returns an error unless the database is marked as demo.
pub async fn check_marked(client: &Client, database: &str) -> Result<(), DemoError> {
    match comment(client).await? {
        Some(comment) if comment == MARK => Ok(()),
        _ => Err(DemoError::NotSetUp(database.to_owned())),
    }
}

/// Marks a database as demo, for instance the target's.
///
/// # Errors
/// [`DemoError::NotDemo`] if it holds anything and is not marked.
pub async fn mark(info: &Conninfo) -> Result<(), DemoError> {
    let client = connect(info, "pcrd-demo/setup").await?;
    mark_in(&client, &info.database).await
}

async fn mark_in(client: &Session, database: &str) -> Result<(), DemoError> {
    let comment = comment(client).await?;
    if comment.as_deref() == Some(MARK) {
        return Ok(());
    }
    let refuse = |found: String| DemoError::NotDemo { database: database.to_owned(), found };
    // `postgres` comes with a comment of its own.
    if let Some(comment) = comment.filter(|_| database != "postgres") {
        return Err(refuse(format!("its comment is \"{comment}\"")));
    }
    let mut found: Vec<String> = client.query(OBJECTS, &[]).await?.iter().map(|row| row.get(0)).collect();
    if found.len() > 3 {
        found[3] = "…".into();
    }
    if !found.is_empty() {
        return Err(refuse(found.join(", ")));
    }
    let statement = format!("COMMENT ON DATABASE {} IS {}", sql::ident(&parse_name(database)?), sql::literal(MARK));
    client.batch_execute(&statement).await?;
    Ok(())
}

async fn comment(client: &Session) -> Result<Option<String>, DemoError> {
    let query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()";
    Ok(client.query_one(query, &[]).await?.get(0))
}

async fn drop_tables(client: &Session) -> Result<(), DemoError> {
    for table in TABLES.iter().rev() {
        client.batch_execute(&format!("DROP TABLE IF EXISTS public.{table} CASCADE")).await?;
    }
    Ok(())
}

/// A slot that nobody reads keeps the server's log for ever. One in use belongs to a migration that is at work, and
/// dropping it fails.
async fn drop_slots(client: &Client) -> Result<(), DemoError> {
    let statement = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
                     WHERE database = current_database() AND left(slot_name, 5) = 'pcrd_'";
    client.query(statement, &[]).await?;
    Ok(())
}

fn parse_name(name: &str) -> Result<Ident, DemoError> {
    Ident::new(name).map_err(|error| DemoError::Pg(crate::pg::error::PgError::Protocol(error.to_string())))
}
