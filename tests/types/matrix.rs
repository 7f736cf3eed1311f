//! One migration of many types: every value by the copy, by the stream, over another value, beside another value, as a key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::builtin::{BUILTIN, DECLARED, Type};
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, rows, text};
use crate::wire;

/// Random rows of each table, and random keys.
const RANDOM_ROWS: usize = 6;

/// A column and what it is tried with.
pub struct Column {
    /// Its type.
    pub sql: String,
    /// Values in the text form.
    pub values: Vec<String>,
    pub random: Box<dyn Fn(&mut StdRng) -> String + Send + Sync>,
    /// Expressions over `{}`, the column, whose binary forms are compared.
    pub compared: Vec<String>,
    /// A table gets it as its key.
    pub key: bool,
}

/// What is migrated.
pub struct Matrix {
    /// Name of the databases.
    pub name: String,
    /// SQL for both ends, before the tables.
    pub both: String,
    /// SQL for the target before it, which makes its oids others than the source's.
    pub on_target: String,
    /// Tables with an integer key.
    pub tables: Vec<(&'static str, Vec<Column>)>,
}

impl Column {
    /// A random value that an index takes.
    fn random_key(&self, random: &mut StdRng) -> String {
        loop {
            let value = (self.random)(random);
            if value.len() < 1_000 {
                return value;
            }
        }
    }

    /// As the table of types says.
    pub fn of(ty: &Type, major: u32) -> Self {
        let is_typname = BUILTIN.iter().any(|known| known.name == ty.name);
        Self {
            sql: if is_typname { format!("pg_catalog.\"{}\"", ty.name) } else { ty.name.to_owned() },
            values: ty.values_of(major),
            random: Box::new(ty.random),
            compared: vec![if ty.by_text { "{}::text" } else { "{}" }.to_owned()],
            key: ty.key,
        }
    }

    /// An array of the elements of a column.
    pub fn array_of(element: &Self, random: fn(&mut StdRng) -> String, delimiter: &str) -> Self {
        let delimiter = delimiter.to_owned();
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', r"\\").replace('"', r#"\""#));
        let all: Vec<String> = element.values.iter().map(|value| quoted(value)).collect();
        let first = all.first().cloned().unwrap_or_else(|| "NULL".to_owned());
        let last = all.last().cloned().unwrap_or_else(|| "NULL".to_owned());
        let d = &delimiter;
        let values = vec![
            "{}".to_owned(),
            "{NULL}".to_owned(),
            format!("[-2:0]={{{first}{d}NULL{d}{last}}}"),
            format!("[0:1][5:6]={{{{{first}{d}{last}}}{d}{{{last}{d}NULL}}}}"),
            format!("{{{}}}", all.join(d)),
        ];
        let by_text = element.compared == ["{}::text"];
        Self {
            sql: format!("{}[]", element.sql),
            values,
            random: Box::new(move |r| {
                let elements: Vec<String> = (0..r.random_range(1..4)).map(|_| quoted(&random(r))).collect();
                format!("[7:{}]={{{}}}", elements.len() + 6, elements.join(&delimiter))
            }),
            compared: if by_text { vec!["{}::text".to_owned()] } else { vec!["{}".to_owned()] },
            key: false,
        }
    }
}

/// What a server says of a type's elements in an array.
pub async fn delimiter(client: &Client, ty: &str) -> String {
    text(client, &format!("SELECT typdelim::text FROM pg_type WHERE oid = $q${ty}$q$::regtype")).await
}

fn literal(value: Option<&str>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |text| format!("'{}'", text.replace('\'', "''")))
}

fn names(columns: &[Column]) -> String {
    (0..columns.len()).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ")
}

/// Rows with every value of every column, random ones, and one without any, as the lists behind VALUES.
fn contents(columns: &[Column], random: &mut StdRng) -> Vec<String> {
    let n_values = columns.iter().map(|column| column.values.len()).max().unwrap_or(0);
    let given = (0..=n_values).map(|n| {
        let values = columns.iter().map(|column| literal(column.values.get(n).map(String::as_str)));
        values.collect::<Vec<_>>().join(", ")
    });
    let given: Vec<String> = given.collect();
    let random_ones = (0..RANDOM_ROWS)
        .map(|_| columns.iter().map(|column| literal(Some(&(column.random)(random)))).collect::<Vec<_>>().join(", "));
    given.into_iter().chain(random_ones.collect::<Vec<_>>()).collect()
}

/// Runs SQL; a failure shows its beginning.
#[track_caller]
fn run<'a>(client: &'a Client, sql: &'a str) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        if let Err(error) = client.batch_execute(sql).await {
            panic!("{caller}: {:?}: {}", error.as_db_error(), sql.chars().take(300).collect::<String>());
        }
    }
}

/// Runs a statement that another row's key may be in the way of.
async fn unless_taken(client: &Client, sql: &str) {
    let Err(error) = client.batch_execute(sql).await else { return };
    let code = error.code().cloned();
    assert!(
        matches!(&code, Some(code) if *code == SqlState::UNIQUE_VIOLATION || *code == SqlState::T_R_DEADLOCK_DETECTED),
        "{:?}: {}",
        error.as_db_error(),
        sql.chars().take(300).collect::<String>()
    );
}

impl Matrix {
    fn keys(&self) -> impl Iterator<Item = (String, &Column)> {
        let columns = self.tables.iter().flat_map(|(_, columns)| columns);
        columns.filter(|column| column.key).enumerate().map(|(n, column)| (format!("k{n}"), column))
    }

    fn ddl(&self, random: &mut StdRng) -> Vec<String> {
        let mut all = vec![self.both.clone()];
        for (name, columns) in &self.tables {
            let list: String = columns.iter().enumerate().map(|(n, column)| format!(", c{n} {}", column.sql)).collect();
            all.push(format!("CREATE TABLE {name} (id integer PRIMARY KEY, n integer NOT NULL DEFAULT 0{list})"));
            all.extend(self.inserts(name, columns, 0, random));
        }
        for (name, column) in self.keys() {
            all.push(format!(
                "CREATE TABLE {name} (k {} PRIMARY KEY, n integer NOT NULL DEFAULT 0, pad text)",
                column.sql
            ));
            let half = column.values.iter().step_by(2);
            all.extend(half.map(|value| new_key(&name, value)));
            all.extend((0..RANDOM_ROWS).map(|_| new_key(&name, &column.random_key(random))));
        }
        all
    }

    fn inserts(&self, name: &str, columns: &[Column], base: usize, random: &mut StdRng) -> Vec<String> {
        let rows = contents(columns, random).into_iter().enumerate();
        let all = names(columns);
        rows.map(|(n, row)| format!("INSERT INTO {name} (id, {all}) VALUES ({}, {row})", base + n)).collect()
    }

    /// The migration from its plan through its cutover, with an application that writes.
    pub async fn run(self, pair: &TestPair, yaml: &str) -> Vec<String> {
        let seed = std::env::var("PCRD_SEED").map_or_else(|_| rand::rng().random(), |text| text.parse().unwrap());
        println!("PCRD_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let name = self.name.clone();
        for cluster in [&pair.source, &pair.target] {
            let server = connect_to(cluster, "postgres").await;
            run(&server, &format!("CREATE DATABASE \"{name}\"")).await;
            // What a session says of its values by default is not what ours may send.
            for setting in [
                "datestyle TO 'German'",
                "intervalstyle TO 'sql_standard'",
                "extra_float_digits TO 0",
                "bytea_output TO 'escape'",
                "timezone TO 'Asia/Kathmandu'",
                "xmloption TO 'document'",
            ] {
                run(&server, &format!("ALTER DATABASE \"{name}\" SET {setting}")).await;
            }
        }
        let (source, target) = (writer(pair, &name).await, connect_to(&pair.target, &name).await);
        for sql in self.ddl(&mut random) {
            run(&source, &sql).await;
        }
        run(&target, &self.on_target).await;
        run(&target, &self.both).await;
        let mut tables: String = self.tables.iter().map(|(name, _)| format!("    - name: {name}\n")).collect();
        tables.extend(self.keys().map(|(name, _)| format!("    - name: {name}\n")));
        let more = format!(
            "  replication_slot: pcrd_{name}\n  batch_size: 5\n  workers: 1\n  lag_threshold_bytes: 33554432\n{yaml}"
        );
        let migration = crate::migration::Migration::between(pair, &name, &tables, &more);
        migration.plan();
        let stage = Stage { name: name.clone(), source, target, migration };

        let mut running = stage.start("chunk.after-commit=sleep(3)");
        let this = Arc::new(self);
        let stop = Arc::new(AtomicBool::new(false));
        let beside = tokio::spawn({
            let (this, stop, client) = (Arc::clone(&this), Arc::clone(&stop), writer(pair, &name).await);
            let random = StdRng::seed_from_u64(seed ^ 1);
            async move { this.write(&client, random, &stop).await }
        });
        tokio::task::block_in_place(|| running.wait_for("\"gate\""));
        stop.store(true, Ordering::Relaxed);
        let n_writes = beside.await.unwrap();
        stage.until_applied().await;
        let n_copied = this.compare(&stage, "after the copy").await;

        this.stream(&stage, &mut random).await;
        stage.until_applied().await;
        let n_streamed = this.compare(&stage, "after the stream").await;
        tokio::task::block_in_place(|| running.interrupt());
        stage.cut_over().assert_switched();
        this.compare(&stage, "after the cutover").await;
        println!("{n_writes} writes beside the copy, {n_copied} and then {n_streamed} values compared");
        assert!(n_writes > 0 && n_copied > 0 && n_streamed > n_copied / 2);
        stage.end().await;
        let plan = std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap();
        vec![plan]
    }

    /// Writes at random until it is stopped; gives the number of writes.
    async fn write(&self, client: &Client, mut random: StdRng, stop: &AtomicBool) -> u32 {
        let mut n_writes = 0;
        let mut next = 100_000;
        let keys: Vec<(String, &Column)> = self.keys().collect();
        while !stop.load(Ordering::Relaxed) {
            let (name, columns) = &self.tables[random.random_range(0..self.tables.len())];
            let all = names(columns);
            let (one, other) = (random.random_range(0..30), random.random_range(0..30));
            let sql = match random.random_range(0..5) {
                0 => {
                    next += 1;
                    format!("INSERT INTO {name} (id, {all}) SELECT {next}, {all} FROM {name} WHERE id = {one}")
                }
                1 => format!("UPDATE {name} SET n = n + 1 WHERE id % 30 = {one}"),
                2 => format!(
                    "UPDATE {name} SET ({all}) = (SELECT {all} FROM {name} WHERE id = {other}) WHERE id = {one}"
                ),
                3 => format!("UPDATE {name} SET id = id + 500000 WHERE id = {next}"),
                _ => format!("DELETE FROM {name} WHERE id >= 100000 AND id % 30 = {one}"),
            };
            run(client, &sql).await;
            n_writes += 1;
            if !keys.is_empty() {
                let (name, column) = &keys[random.random_range(0..keys.len())];
                let some = if random.random() || column.values.is_empty() {
                    column.random_key(&mut random)
                } else {
                    column.values[random.random_range(0..column.values.len())].clone()
                };
                let quoted = literal(Some(&some));
                let any = format!("k = (SELECT k FROM {name} OFFSET {} LIMIT 1)", random.random_range(0..6));
                let sql = match random.random_range(0..4) {
                    0 => new_key(name, &some),
                    1 => format!("UPDATE {name} SET n = n + 1 WHERE {any}"),
                    2 => format!("UPDATE {name} SET k = {quoted} WHERE {any}"),
                    _ => format!("DELETE FROM {name} WHERE {any}"),
                };
                unless_taken(client, &sql).await;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        n_writes
    }

    /// Every value by an insert, over another and beside a change; every key by an insert, an update of its row, a move, a
    /// delete; one by one and many together.
    async fn stream(&self, stage: &Stage, random: &mut StdRng) {
        let client = &stage.source;
        for (name, columns) in &self.tables {
            for sql in self.inserts(name, columns, 1_000, random) {
                run(client, &sql).await;
            }
            let together = self.inserts(name, columns, 2_000, random).join("; ");
            run(client, &format!("BEGIN; {together}; COMMIT")).await;
            // What is out of line stays where it is.
            run(client, &format!("UPDATE {name} SET n = n + 1")).await;
            // Each row gets the values of its neighbour: a value over NULL, NULL over a value, a value over another.
            let all = names(columns);
            let old = names(columns).replace('c', "o.c");
            let shift = |rows: &str| {
                format!("UPDATE {name} AS t SET ({all}) = ROW({old}) FROM {name} AS o WHERE o.id = t.id + 1 AND {rows}")
            };
            run(client, &shift("t.id BETWEEN 0 AND 1999")).await;
            for id in 2_000..2_040 {
                run(client, &shift(&format!("t.id = {id}"))).await;
            }
            run(client, &format!("UPDATE {name} SET id = id + 10000 WHERE id % 4 = 1 AND id BETWEEN 1000 AND 3000"))
                .await;
            run(client, &format!("DELETE FROM {name} WHERE id % 7 = 3")).await;
        }
        for (name, column) in self.keys() {
            for value in &column.values {
                unless_taken(client, &new_key(&name, value)).await;
            }
            let together: Vec<String> = (0..4).map(|_| new_key(&name, &column.random_key(random))).collect();
            run(client, &format!("BEGIN; {}; COMMIT", together.join("; "))).await;
            run(client, &format!("UPDATE {name} SET n = n + 1")).await;
            for value in column.values.iter().step_by(3) {
                let typed = |value: &str| format!("CAST({} AS {})", literal(Some(value)), column.sql);
                let (old, new) = (typed(value), typed(&column.random_key(random)));
                unless_taken(client, &format!("UPDATE {name} SET k = {new} WHERE k = {old}")).await;
                unless_taken(client, &format!("UPDATE {name} SET n = n + 1, pad = repeat('p', 9000) WHERE k = {new}"))
                    .await;
            }
            // And back again: what was moved away comes into its old place.
            for value in column.values.iter().step_by(3) {
                unless_taken(client, &new_key(&name, value)).await;
            }
            for value in column.values.iter().skip(1).step_by(3) {
                let typed = format!("CAST({} AS {})", literal(Some(value)), column.sql);
                run(client, &format!("DELETE FROM {name} WHERE k = {typed}")).await;
            }
        }
    }

    /// Compares all tables; gives the number of values.
    async fn compare(&self, stage: &Stage, when: &str) -> usize {
        let mut n_values = 0;
        let tables = self.tables.iter().map(|(name, columns)| (name.to_string(), "id", columns.iter().collect()));
        let keys = self.keys().map(|(name, column)| (name, "pad", vec![column]));
        for (name, also, columns) in tables.chain(keys).collect::<Vec<(String, &str, Vec<&Column>)>>() {
            let column_name = |n: usize| if also == "id" { format!("c{n}") } else { "k".to_owned() };
            let compared: Vec<(usize, String)> = columns
                .iter()
                .enumerate()
                .flat_map(|(n, column)| column.compared.iter().map(move |sql| (n, sql.replace("{}", &column_name(n)))))
                .collect();
            let list: String = compared.iter().map(|(_, sql)| format!(", {sql}")).collect();
            let query = format!("SELECT {also}, n{list} FROM public.{name}");
            let (left, right) = (wire::rows(&stage.source, &query).await, wire::rows(&stage.target, &query).await);
            n_values += left.len() * compared.len();
            if left == right {
                continue;
            }
            let mut said = format!("{} rows of {name}, {} on the target", left.len(), right.len());
            for (l, r) in left.iter().zip(&right) {
                for ((l, r), (n, sql)) in l.iter().zip(r).skip(2).zip(&compared) {
                    if l != r && said.len() < 4_000 {
                        let show = |bytes: &Option<bytes::Bytes>| {
                            bytes.as_ref().map(|bytes| format!("{:?}", bytes.slice(..bytes.len().min(80))))
                        };
                        said += &format!("\n{sql} {}: {:?} {:?}", columns[*n].sql, show(l), show(r));
                    }
                }
            }
            panic!("{}, {when}: {said}", stage.name);
        }
        n_values
    }
}

async fn writer(pair: &TestPair, name: &str) -> Client {
    let client = connect_to(&pair.source, name).await;
    // Values are written here as the table of types has them.
    run(
        &client,
        "SET datestyle TO ISO, YMD; SET intervalstyle TO postgres; SET timezone TO UTC; SET xmloption TO content",
    )
    .await;
    client
}

fn new_key(name: &str, value: &str) -> String {
    format!("INSERT INTO {name} (k, pad) VALUES ({}, repeat('x', 3000)) ON CONFLICT DO NOTHING", literal(Some(value)))
}

/// All that is built in and can go from this major to that one.
pub async fn of_builtin(pair: &TestPair, name: &str, from: u32, to: u32) -> Matrix {
    let client = connect_to(&pair.source, "postgres").await;
    let listed = rows(
        &client,
        "SELECT t.typname FROM pg_type t WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm') \
         AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid) ORDER BY t.typname::text COLLATE \"C\"",
    )
    .await;
    let listed: Vec<String> = listed.into_iter().map(|row| row.into_iter().next().flatten().unwrap()).collect();
    let known: Vec<&str> =
        BUILTIN.iter().filter(|ty| (ty.majors.0..=ty.majors.1).contains(&from)).map(|ty| ty.name).collect();
    assert_eq!(listed, known, "the types of PostgreSQL {from}, and those that the table has for it");
    let (mut scalars, mut arrays) = (Vec::new(), Vec::new());
    for ty in BUILTIN.iter().filter(|ty| ty.can_travel(from, to)) {
        let column = Column::of(ty, from);
        let delimiter = delimiter(&client, &column.sql).await;
        arrays.push(Column::array_of(&column, ty.random, &delimiter));
        scalars.push(column);
    }
    scalars.extend(DECLARED.iter().filter(|ty| ty.can_travel(from, to)).map(|ty| Column::of(ty, from)));
    let (both, on_target) = (String::new(), String::new());
    Matrix { name: name.to_owned(), both, on_target, tables: vec![("scalars", scalars), ("arrays", arrays)] }
}
