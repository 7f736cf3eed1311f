//! A backlog of small transactions, or one large one: pcrd and a subscription of the server's own, from the same slot
//! position.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::machine::{Measured, Meter};
use crate::report::Report;
use crate::work::{SOURCE, Servers, connect, done, pcrd, plan, text, uri};

const NATIVE: &str = "native subscription";

/// The mix of the backlog: weights in per cent.
pub(crate) const MIX: [(&str, u32, &str); 3] = [
    (
        "insert",
        40,
        "INSERT INTO listings (list_price, bedrooms, square_feet, year_built, description, address_line1, city, state_code, zip_code, agent_id, legacy_code, attributes) \
         VALUES (random() * 1000000, 3, 1800, 1999, 'A new listing with a description of ordinary length ' || md5(random()::text), '12 Oak St', 'Austin', 'TX', '73301', 42, 'NEW', '{\"hoa\": 10, \"pool\": true, \"tags\": [\"a\", \"b\"]}')",
    ),
    (
        "update",
        45,
        "\\set id random(1, :rows)\nUPDATE listings SET list_price = list_price + 1, active = NOT active, description = 'Another description of ordinary length ' || md5(random()::text) WHERE id = :id",
    ),
    ("delete", 15, "\\set id random(1, :rows)\nDELETE FROM listings WHERE id = :id"),
];

/// What waits in the slot.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Backlog {
    /// So many transactions of one change each.
    Small(u64),
    /// One transaction that changes every row.
    One,
}

/// A subscription of the server's own.
struct Native {
    contender: &'static str,
    /// Its slot; its database is called alike.
    name: &'static str,
    options: &'static str,
}

impl Native {
    fn database(&self) -> String {
        format!("of_{}", self.name)
    }
}

/// The subscriptions that there are to compare with.
fn natives(what: Backlog, major: u32) -> Vec<Native> {
    let mut natives = vec![Native { contender: NATIVE, name: "native", options: "" }];
    match what {
        Backlog::Small(_) => natives.push(Native {
            contender: "the same, synchronous_commit = on",
            name: "native_durable",
            options: ", synchronous_commit = on",
        }),
        Backlog::One if major >= 16 => natives.push(Native {
            contender: "the same, streaming = parallel",
            name: "native_parallel",
            options: ", streaming = parallel",
        }),
        Backlog::One => {}
    }
    natives
}

pub(crate) async fn run(what: Backlog, major: u32, rows: u64, rounds: usize) -> Report {
    let servers = Servers::start_of(major, rows).await;
    let source = connect(&servers.source, "postgres").await;
    for server in [&servers.source, &servers.target] {
        // It would fall into somebody's turn: after the backlog, and after each contender's changes.
        let session = connect(server, "postgres").await;
        session.batch_execute("ALTER SYSTEM SET autovacuum = off").await.unwrap();
        session.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    servers.fresh("of_pcrd").await;
    plan(dir.path(), &servers, "of_pcrd");
    done(&mut pcrd(dir.path(), &["apply", "plan.json", "--yes", "--through", "catchup"]));
    source.batch_execute("CREATE PUBLICATION native FOR TABLE listings, marker").await.unwrap();
    let natives = natives(what, major);
    for native in &natives {
        subscribe(&servers, native).await;
    }

    let (mut report, backlog_note) = match what {
        Backlog::Small(transactions) => (
            Report::new("stream", "transactions", transactions, NATIVE),
            format!(
                "a backlog of {transactions} transactions of one change (insert 40, update 45, delete 15 per cent) on a table of {rows} rows"
            ),
        ),
        Backlog::One => {
            (Report::new("bigtxn", "rows", rows, NATIVE), format!("one transaction that updates {rows} rows"))
        }
    };
    report.note(format!("{backlog_note}; PostgreSQL {major} to {major}"));
    report.note("pcrd converts, renames, drops and reorders columns and commits durably; the subscription copies as it is, with its default of asynchronous commits; no autovacuum".to_owned());
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        match what {
            Backlog::Small(transactions) => backlog(dir.path(), &servers, transactions, rows),
            Backlog::One => update_all(&source).await,
        }
        source.batch_execute(&format!("INSERT INTO marker VALUES ({round})")).await.unwrap();
        servers.rest().await;
        // Who comes first changes from round to round.
        for turn in 0..=natives.len() {
            match natives.get((round + turn) % (natives.len() + 1)) {
                Some(native) => report.add(native.contender, with_subscription(&servers, native, round).await),
                None => report.add("pcrd", with_pcrd(dir.path(), &servers, round).await),
            }
        }
        assert_same_rows(&servers, &source, &natives).await;
    }
    // The tables of a subscription are as wide as the source's: nothing else holds them together.
    for native in &natives {
        let target = connect(&servers.target, &native.database()).await;
        target.batch_execute(&format!("DROP SUBSCRIPTION {}", native.name)).await.unwrap();
    }
    report
}

/// The same rows, a slot at the same point, and a subscription that waits.
async fn subscribe(servers: &Servers, native: &Native) {
    let (name, options, database) = (native.name, native.options, native.database());
    let source = connect(&servers.source, "postgres").await;
    let slot = format!("SELECT slot_name FROM pg_create_logical_replication_slot('{name}', 'pgoutput')");
    assert_eq!(text(&source, &slot).await, name);
    servers.fresh(&database).await;
    let target = connect(&servers.target, &database).await;
    target.batch_execute(SOURCE).await.unwrap();
    let psql = "/usr/lib/postgresql/15/bin/psql -X -q -v ON_ERROR_STOP=1";
    let script = format!(
        "set -o pipefail; {psql} -d {} -c 'COPY listings TO STDOUT' | {psql} -d {} -c 'COPY listings FROM STDIN'",
        uri(&servers.source, "postgres"),
        uri(&servers.target, &database)
    );
    done(Command::new("bash").args(["-c", &script]));
    let subscription = format!(
        "CREATE SUBSCRIPTION {name} CONNECTION 'host=127.0.0.1 port={} user=postgres dbname=postgres' PUBLICATION native \
         WITH (create_slot = false, slot_name = '{name}', copy_data = false, enabled = false{options})",
        servers.source.port()
    );
    target.batch_execute(&subscription).await.unwrap();
}

fn backlog(dir: &std::path::Path, servers: &Servers, transactions: u64, rows: u64) {
    const CLIENTS: u64 = 8;
    let mut command = Command::new("/usr/lib/postgresql/15/bin/pgbench");
    command.args([
        "-n",
        "-M",
        "prepared",
        "-j",
        "2",
        "-c",
        &CLIENTS.to_string(),
        "-t",
        &(transactions / CLIENTS).to_string(),
    ]);
    command.args(["-D", &format!("rows={rows}")]);
    for (name, weight, sql) in MIX {
        let file = dir.join(format!("{name}.sql"));
        std::fs::write(&file, format!("{sql};\n")).unwrap();
        command.arg("-f").arg(format!("{}@{weight}", file.display()));
    }
    command.arg(uri(&servers.source, "postgres")).env("PGOPTIONS", "-c synchronous_commit=off");
    done(&mut command);
}

async fn update_all(source: &tokio_postgres::Client) {
    // Else the table grows by its own size in every round.
    source.batch_execute("VACUUM listings").await.unwrap();
    source.batch_execute("UPDATE listings SET list_price = list_price + 1, active = NOT active").await.unwrap();
}

async fn marked(client: &tokio_postgres::Client, round: usize) -> bool {
    text(client, &format!("SELECT count(*) FROM marker WHERE id = {round}")).await == "1"
}

async fn with_pcrd(dir: &std::path::Path, servers: &Servers, round: usize) -> Measured {
    let target = connect(&servers.target, "of_pcrd").await;
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = pcrd(dir, &["apply", "plan.json", "--yes", "--through", "catchup"]);
    command.stdout(Stdio::null()).stderr(log.reopen().unwrap());
    let mut meter = Meter::start(&servers.source, &servers.target);
    let mut child = command.spawn().unwrap();
    let mut ended = None;
    while !marked(&target, round).await {
        assert!(ended.is_none(), "ended before its work was done: {}", std::fs::read_to_string(log.path()).unwrap());
        meter.sample(&child);
        tokio::time::sleep(Duration::from_millis(10)).await;
        ended = child.try_wait().unwrap();
    }
    let measured = meter.stop(ended.is_none().then_some(&child));
    let status = child.wait().unwrap();
    assert!(status.success(), "{}", std::fs::read_to_string(log.path()).unwrap());
    measured
}

async fn with_subscription(servers: &Servers, native: &Native, round: usize) -> Measured {
    let target = connect(&servers.target, &native.database()).await;
    let meter = Meter::start(&servers.source, &servers.target);
    target.batch_execute(&format!("ALTER SUBSCRIPTION {} ENABLE", native.name)).await.unwrap();
    while !marked(&target, round).await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let measured = meter.stop(None);
    target.batch_execute(&format!("ALTER SUBSCRIPTION {} DISABLE", native.name)).await.unwrap();
    measured
}

async fn assert_same_rows(servers: &Servers, source: &tokio_postgres::Client, natives: &[Native]) {
    let count = "SELECT count(*) || ' ' || sum(id) FROM listings";
    let wanted = text(source, count).await;
    let databases = natives.iter().map(Native::database).chain(["of_pcrd".to_owned()]);
    for database in databases {
        assert_eq!(text(&connect(&servers.target, &database).await, count).await, wanted, "{database}");
    }
}
