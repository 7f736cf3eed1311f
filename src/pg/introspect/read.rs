//! Runs the catalog queries in one read-only snapshot.

use serde::de::DeserializeOwned;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::error::IntrospectError;
use super::row::{OidRow, Rows};
use super::{assemble, query};
use crate::catalog::{Catalog, QualifiedName, Server};

/// Reads all schemas of users: everything but `pg_*`, `information_schema` and pcrd's own.
///
/// The connection must not be in a transaction; afterwards it is in none, also after an error. If the future is dropped
/// before it is done, drop the connection too.
///
/// # Errors
/// When a query fails, and when an object has a name or a code that cannot be taken over.
pub async fn catalog(client: &Client) -> Result<Catalog, IntrospectError> {
    in_snapshot(client, async |client| {
        let server = read_server(client).await?;
        read_catalog(client, server, None).await
    })
    .await
}

/// Reads the tables with these names, and the types and sequences that they use. A name without a table is simply not in
/// the result. Terms are those of [`catalog`].
///
/// # Errors
/// As [`catalog`].
pub async fn tables(client: &Client, names: &[QualifiedName]) -> Result<Catalog, IntrospectError> {
    in_snapshot(client, async |client| named(client, names).await).await
}

/// As [`tables`], inside the caller's transaction: sees what it has built. Settings of the transaction are changed.
///
/// # Errors
/// As [`catalog`].
pub async fn tables_inside(client: &Client, names: &[QualifiedName]) -> Result<Catalog, IntrospectError> {
    let failed = |source| IntrospectError::Query { what: "the session's settings", source };
    client.batch_execute(query::SESSION).await.map_err(failed)?;
    named(client, names).await
}

async fn named(client: &Client, names: &[QualifiedName]) -> Result<Catalog, IntrospectError> {
    let server = read_server(client).await?;
    let schemas: Vec<&str> = names.iter().map(|name| name.schema.as_str()).collect();
    let tables: Vec<&str> = names.iter().map(|name| name.name.as_str()).collect();
    let found: Vec<OidRow> =
        fetch(client, &query::RESOLVE, server.major(), &[(&schemas, Type::TEXT_ARRAY), (&tables, Type::TEXT_ARRAY)])
            .await?;
    read_catalog(client, server, Some(found.iter().map(|row| row.oid).collect())).await
}

/// Reads what identifies the cluster and the database. Terms are those of [`catalog`].
///
/// # Errors
/// When the query fails; `pg_control_system()` may have been revoked.
pub async fn server(client: &Client) -> Result<Server, IntrospectError> {
    in_snapshot(client, read_server).await
}

async fn in_snapshot<T>(
    client: &Client,
    read: impl AsyncFnOnce(&Client) -> Result<T, IntrospectError>,
) -> Result<T, IntrospectError> {
    let failed = |source| IntrospectError::Query { what: "a snapshot", source };
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(failed)?;
    let result = match client.batch_execute(query::SESSION).await.map_err(failed) {
        Ok(()) => read(client).await,
        Err(error) => Err(error),
    };
    // Nothing was written. After an error of ours the server's answer to ROLLBACK says nothing new.
    let ended = client.batch_execute("ROLLBACK").await.map_err(failed);
    let value = result?;
    ended?;
    Ok(value)
}

async fn read_server(client: &Client) -> Result<Server, IntrospectError> {
    let rows = fetch(client, &query::SERVER, 0, &[]).await?;
    assemble::server(rows)
}

async fn read_catalog(client: &Client, server: Server, only: Option<Vec<u32>>) -> Result<Catalog, IntrospectError> {
    let major = server.major();
    if major < 10 {
        return Err(IntrospectError::Version(server.version_num));
    }
    let none: &[(&(dyn ToSql + Sync), Type)] = &[];
    let (roles, default_grants, trigger_functions, functions, views, others) = match only {
        Some(_) => (None, Vec::new(), None, None, Vec::new(), Vec::new()),
        None => {
            let roles = fetch(client, &query::ROLES, major, none).await?;
            let default_grants = fetch(client, &query::DEFAULT_GRANTS, major, none).await?;
            let trigger_functions = fetch(client, &query::TRIGGER_FUNCTIONS, major, none).await?;
            let functions = fetch(client, &query::FUNCTIONS, major, none).await?;
            let views = fetch(client, &query::VIEWS, major, none).await?;
            let others = fetch(client, &query::OTHERS, major, none).await?;
            (Some(roles), default_grants, Some(trigger_functions), Some(functions), views, others)
        }
    };
    let filter: &[(&(dyn ToSql + Sync), Type)] = &[(&only, Type::OID_ARRAY)];
    let rows = Rows {
        schemas: fetch(client, &query::SCHEMAS, major, none).await?,
        extensions: fetch(client, &query::EXTENSIONS, major, none).await?,
        types: fetch(client, &query::TYPES, major, filter).await?,
        tables: fetch(client, &query::TABLES, major, filter).await?,
        columns: fetch(client, &query::COLUMNS, major, filter).await?,
        column_stats: fetch(client, &query::COLUMN_STATS, major, filter).await?,
        indexes: fetch(client, &query::INDEXES, major, filter).await?,
        constraints: fetch(client, &query::CONSTRAINTS, major, filter).await?,
        statistics: fetch(client, &query::STATISTICS, major, filter).await?,
        triggers: fetch(client, &query::TRIGGERS, major, filter).await?,
        policies: fetch(client, &query::POLICIES, major, filter).await?,
        sequences: fetch(client, &query::SEQUENCES, major, filter).await?,
        dependents: fetch(client, &query::DEPENDENTS, major, filter).await?,
        roles,
        default_grants,
        trigger_functions,
        functions,
        views,
        others,
    };
    assemble::catalog(server, rows)
}

/// One round trip: the types of the parameters are given, so that nothing is prepared first.
async fn fetch<T: DeserializeOwned>(
    client: &Client,
    query: &query::Query,
    major: u32,
    params: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<T>, IntrospectError> {
    let failed = |source| IntrospectError::Query { what: query.what, source };
    let rows = client.query_typed(&query.statement(major), params).await.map_err(failed)?;
    rows.into_iter()
        .map(|row| {
            let document: &str = row.try_get(0).map_err(failed)?;
            serde_json::from_str(document).map_err(|source| IntrospectError::Row { what: query.what, source })
        })
        .collect()
}
