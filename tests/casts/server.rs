//! A server, and the user-defined types of these tests.

use std::collections::BTreeMap;

use pcrd::catalog::{Attribute, Ident, QualifiedName, RangeDef, TypeDef};
use pcrd::pg::local::Cluster;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

pub async fn server() -> (Cluster, Client) {
    server_of(15).await
}

pub async fn server_of(major: u32) -> (Cluster, Client) {
    let cluster = Cluster::start_with(major, &[("fsync", "off")]).unwrap();
    let info = cluster.conninfo("postgres");
    let text = format!(
        "host={} port={} user={} dbname={} options='-c search_path= -c TimeZone=UTC -c extra_float_digits=3'",
        info.host, info.port, info.user, info.database
    );
    let (client, connection) = tokio_postgres::connect(&text, NoTls).await.unwrap();
    tokio::spawn(connection);
    (cluster, client)
}

pub async fn rows(client: &Client, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
    let messages = client.simple_query(sql).await.map_err(|e| match e.as_db_error() {
        Some(db) => format!("{}: {}", db.code().code(), db.message()),
        None => e.to_string(),
    })?;
    Ok(messages
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
            _ => None,
        })
        .collect())
}

pub fn user_types() -> BTreeMap<QualifiedName, TypeDef> {
    let domain = |base: &str| TypeDef::Domain {
        base: base.to_owned(),
        not_null: false,
        checks: BTreeMap::new(),
        default: None,
        collation: None,
    };
    let pair = vec![Attribute { name: Ident::new("a").unwrap(), ty: "integer".to_owned(), collation: None }];
    [
        ("public", "mood", TypeDef::Enum(vec!["sad".into(), "ok".into()])),
        ("public", "Mixed Case", TypeDef::Enum(vec!["x".into()])),
        ("public", "user", TypeDef::Enum(vec!["x".into()])),
        ("public", "positive", domain("bigint")),
        ("public", "price", domain("numeric(10,2)")),
        ("app", "pair", TypeDef::Composite(pair)),
        ("app", "span", TypeDef::Range(RangeDef::over("integer"))),
        ("app", "bigspan", TypeDef::Range(RangeDef::over("timestamp without time zone"))),
    ]
    .into_iter()
    .map(|(schema, name, def)| (QualifiedName::new(schema, name).unwrap(), def))
    .collect()
}

pub const USER_TYPES_SQL: &str = "CREATE SCHEMA app; CREATE TYPE public.mood AS ENUM ('sad','ok'); \
    CREATE TYPE public.\"Mixed Case\" AS ENUM ('x'); CREATE TYPE public.\"user\" AS ENUM ('x'); \
    CREATE DOMAIN public.positive AS bigint; CREATE DOMAIN public.price AS numeric(10,2); \
    CREATE TYPE app.pair AS (a integer); CREATE TYPE app.span AS RANGE (SUBTYPE = integer); \
    CREATE TYPE app.bigspan AS RANGE (SUBTYPE = timestamp);";

/// A type as `pg_attribute` and `pg_type` describe it.
pub async fn column_of(client: &Client, table: &str) -> Vec<Option<String>> {
    let sql = format!(
        "SELECT n.nspname, t.typname, t.typlen, t.typalign, a.atttypmod, pg_catalog.format_type(a.atttypid, a.atttypmod), \
         t.typtype, t.typelem <> 0 AND t.typlen = -1 AND t.typname LIKE '\\_%' FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
         JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE a.attrelid = '{table}'::pg_catalog.regclass AND a.attnum = 1"
    );
    rows(client, &sql).await.unwrap().remove(0)
}
