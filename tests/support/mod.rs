//! What the tests with real servers share: connections, independent copies for comparison, a source with a target.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use futures_util::StreamExt;
use pcrd::pg::conninfo::Conninfo;
use pcrd::pg::local::Cluster;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Connects without TLS. The connection ends with the client.
pub async fn connect(conninfo: &Conninfo) -> Client {
    try_connect(conninfo).await.unwrap()
}

/// Connects to a server that may be down.
pub async fn try_connect(conninfo: &Conninfo) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host(&conninfo.host).port(conninfo.port).dbname(&conninfo.database).user(&conninfo.user);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Connects to a database of a cluster as the superuser.
pub async fn connect_to(cluster: &Cluster, database: &str) -> Client {
    connect(&cluster.conninfo(database)).await
}

/// Runs SQL; a failure shows the statement.
#[track_caller]
pub fn run<'a>(client: &'a Client, sql: &'a str) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        if let Err(error) = client.batch_execute(sql).await {
            panic!("{caller}: {}: {sql}", describe(&error));
        }
    }
}

/// Returns the text of the first column of the first row.
pub async fn text(client: &Client, sql: &str) -> String {
    let rows = rows(client, sql).await;
    rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()).unwrap()
}

/// Returns all values as text.
pub async fn rows(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|e| panic!("{}: {sql}", describe(&e)));
    let mut rows = Vec::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            rows.push((0..row.len()).map(|n| row.get(n).map(str::to_owned)).collect());
        }
    }
    rows
}

/// Returns the result of a query in COPY's text format with its lines sorted. Two of them are equal exactly if the
/// same rows come out, which says so without any code of ours; never sort with ORDER BY, whose order a collation decides.
pub async fn sorted_copy(client: &Client, query: &str) -> Vec<u8> {
    // Text output follows these settings, and the two sides may differ in their defaults.
    let settings = "SET datestyle TO ISO, YMD; SET intervalstyle TO postgres; SET timezone TO UTC; \
                    SET extra_float_digits TO 3; SET bytea_output TO hex; SET client_encoding TO UTF8";
    run(client, settings).await;
    let sql = format!("COPY ({query}) TO STDOUT");
    let stream = client.copy_out(&sql).await.unwrap_or_else(|e| panic!("{}: {sql}", describe(&e)));
    let mut stream = std::pin::pin!(stream);
    let mut lines = Vec::new();
    while let Some(line) = stream.next().await {
        lines.push(line.unwrap());
    }
    lines.sort();
    lines.concat()
}

fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} {}", db.code().code(), db.message()),
        None => error.to_string(),
    }
}

/// A source and a target cluster.
pub struct TestPair {
    /// The old cluster.
    pub source: Cluster,
    /// The new one.
    pub target: Cluster,
}

impl TestPair {
    /// Starts two servers with fsync off: a test that crashes one needs [`TestPair::durable`].
    pub fn start(source_major: u32, target_major: u32) -> Self {
        Self::start_with(source_major, target_major, &[("fsync", "off")])
    }

    /// Starts two servers that keep what they acknowledged over a crash.
    pub fn durable(source_major: u32, target_major: u32) -> Self {
        Self::start_with(source_major, target_major, &[])
    }

    /// Starts two servers with these settings.
    pub fn start_with(source_major: u32, target_major: u32, settings: &[(&str, &str)]) -> Self {
        Self {
            source: Cluster::start_with(source_major, settings).unwrap(),
            target: Cluster::start_with(target_major, settings).unwrap(),
        }
    }
}
