//! How much memory the copy needs, by the size of the table and of its rows.

use crate::figures::Figures;
use crate::machine::measure;
use crate::work::{Servers, configure, connect, done, pcrd, text};

const MB: u64 = 1_000_000;
/// The bar: this, and twice the largest row.
const BASE_MB: u64 = 64;

pub(crate) async fn run(gb: f64, rounds: usize) -> Figures {
    let servers = Servers::start(0).await;
    let source = connect(&servers.source, "postgres").await;
    let mut figures = Figures::new("memory");
    figures.note(
        "peak resident memory of `pcrd apply --through copy`; wanted is 64 MB and twice the largest row".to_owned(),
    );
    let large = (gb * 1e9) as u64;
    // A row of more than 2 kB is compressed where it lies, and has its full size on its way.
    let tables = [(1_000, large / 10), (1_000, large), (MB, large / 10), (MB, large), (32 * MB, large)];
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for (row, table) in tables {
            let rows = (table / row).max(4);
            let make = format!(
                "DROP TABLE IF EXISTS wide; CREATE TABLE wide (id integer PRIMARY KEY, t text NOT NULL); \
                 INSERT INTO wide SELECT g, repeat(md5(g::text), {}) FROM generate_series(1, {rows}) AS g; VACUUM ANALYZE wide",
                row / 32
            );
            for statement in make.split("; ") {
                source.batch_execute(statement).await.unwrap();
            }
            servers.fresh("of_pcrd").await;
            let dir = tempfile::tempdir().unwrap();
            configure(
                dir.path(),
                &servers,
                "of_pcrd",
                "\n    - name: wide\n      columns:\n        id: { type: bigint }\n",
            );
            let mut command = pcrd(dir.path(), &["apply", "plan.json", "--yes", "--through", "copy"]);
            let measured = measure(&servers.source, &servers.target, &mut command);
            let target = connect(&servers.target, "of_pcrd").await;
            assert_eq!(text(&target, "SELECT count(*) FROM wide").await, rows.to_string());
            done(&mut pcrd(dir.path(), &["abort", "--yes"]));
            let bar = (BASE_MB * MB + 2 * row) as f64 / MB as f64;
            let name = format!("{rows} rows of {}, {} in all", size(row), size(rows * row));
            figures.add(&name, measured.client_mib * 1024.0 * 1024.0 / MB as f64, "MB", Some(bar));
        }
    }
    figures
}

fn size(bytes: u64) -> String {
    if bytes < MB { format!("{} kB", bytes / 1_000) } else { format!("{} MB", bytes / MB) }
}
