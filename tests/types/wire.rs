//! Rows as a server sends them in binary, to be compared without any code of pcrd's.

use bytes::Bytes;
use futures_util::StreamExt;
use tokio_postgres::Client;

use crate::support::run;

/// One row: its values.
pub type Row = Vec<Option<Bytes>>;

/// The rows of a query from a binary COPY, sorted by their bytes.
pub async fn rows(client: &Client, query: &str) -> Vec<Row> {
    // A few values are compared by their text.
    let settings = "BEGIN; SET LOCAL datestyle TO ISO, YMD; SET LOCAL intervalstyle TO postgres; SET LOCAL timezone TO UTC; SET LOCAL search_path TO ''; \
                    SET LOCAL extra_float_digits TO 3; SET LOCAL bytea_output TO hex; SET LOCAL client_encoding TO UTF8; SET LOCAL lc_monetary TO 'C'";
    run(client, settings).await;
    let sql = format!("COPY ({query}) TO STDOUT (FORMAT binary)");
    let stream = client.copy_out(&sql).await.unwrap_or_else(|error| panic!("{error:?}: {sql}"));
    let mut stream = std::pin::pin!(stream);
    let mut all = Vec::new();
    while let Some(part) = stream.next().await {
        all.extend_from_slice(&part.unwrap_or_else(|error| panic!("{error:?}: {sql}")));
    }
    run(client, "COMMIT").await;
    let mut rows = split(&Bytes::from(all));
    rows.sort();
    rows
}

fn split(all: &Bytes) -> Vec<Row> {
    assert!(all.starts_with(b"PGCOPY\n\xff\r\n\0"), "not a binary COPY");
    // Signature, flags, and an extension of the header without a byte.
    let mut at = 19;
    let mut take = |len: usize| {
        at += len;
        all.slice(at - len..at)
    };
    let mut rows = Vec::new();
    loop {
        let n_columns = i16::from_be_bytes(take(2)[..].try_into().unwrap());
        let Ok(n_columns) = usize::try_from(n_columns) else { return rows };
        let row = (0..n_columns).map(|_| {
            let len = i32::from_be_bytes(take(4)[..].try_into().unwrap());
            usize::try_from(len).ok().map(&mut take)
        });
        rows.push(row.collect());
    }
}
