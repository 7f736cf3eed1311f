//! An application at a steady rate, and rows by which the delay from commit to commit is measured.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pcrd::pg::local::Cluster;

use crate::stream::MIX;
use crate::work::{connect, uri};

/// Seconds since the Unix epoch, the clock of pgbench's log.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// pgbench with a rate, until it is dropped.
pub(crate) struct Load {
    child: Child,
    dir: tempfile::TempDir,
}

impl Load {
    /// Inserts, updates and deletes single rows, so many transactions a second.
    pub(crate) fn start(source: &Cluster, tps: u64, rows: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("/usr/lib/postgresql/15/bin/pgbench");
        command.args(["-n", "-M", "prepared", "-j", "2", "-c", "16", "-T", "100000", "-R", &tps.to_string()]);
        command.args(["-D", &format!("rows={rows}"), "-l"]).arg("--log-prefix").arg(dir.path().join("log"));
        for (name, weight, sql) in MIX {
            let file = dir.path().join(format!("{name}.sql"));
            std::fs::write(&file, format!("{sql};\n")).unwrap();
            command.arg("-f").arg(format!("{}@{weight}", file.display()));
        }
        command.arg(uri(source, "postgres")).current_dir(dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap(), dir }
    }

    /// Ends it; gives when each transaction ended and how long it took from the moment at which it was due, in
    /// milliseconds. The last few that pgbench had not written down yet are missing.
    pub(crate) fn stop(mut self) -> Latencies {
        assert!(self.child.try_wait().unwrap().is_none(), "the load ended by itself");
        self.end();
        let mut all = Vec::new();
        for entry in std::fs::read_dir(self.dir.path()).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if !path.file_name().unwrap().to_string_lossy().starts_with("log") {
                continue;
            }
            for line in std::fs::read_to_string(path).unwrap().lines() {
                // client, number, µs, script, s, µs, µs behind the schedule
                let fields: Vec<f64> = line.split(' ').map_while(|field| field.parse().ok()).collect();
                if fields.len() == 7 {
                    all.push((fields[4] + fields[5] / 1e6, fields[2] / 1e3));
                }
            }
        }
        Latencies(all)
    }

    fn end(&mut self) {
        // One that has ended is no error.
        let _ended = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

/// When a transaction ended, and what it took in milliseconds.
pub(crate) struct Latencies(Vec<(f64, f64)>);

impl Latencies {
    pub(crate) fn between(&self, from: f64, to: f64) -> Vec<f64> {
        self.0.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, ms)| *ms).collect()
    }
}

/// Rows that are written on the source and looked for on the target.
pub(crate) struct Probe {
    /// When a row was committed, and after how many milliseconds it was seen.
    seen: Arc<Mutex<Vec<(f64, f64)>>>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Probe {
    /// A row every 10 ms in a table `probe (id integer PRIMARY KEY)`; the target's may come later.
    pub(crate) async fn start(source: &Cluster, target: &Cluster, database: &str) -> Self {
        let (writer, reader) = (connect(source, "postgres").await, connect(target, database).await);
        writer.batch_execute("TRUNCATE probe").await.unwrap();
        let committed = Arc::new(Mutex::new(Vec::<(i32, Instant, f64)>::new()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let to_look_for = Arc::clone(&committed);
        let write = tokio::spawn(async move {
            let insert = writer.prepare("INSERT INTO probe VALUES ($1)").await.unwrap();
            for n in 1.. {
                writer.execute(&insert, &[&n]).await.unwrap();
                to_look_for.lock().unwrap().push((n, Instant::now(), now()));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let found = Arc::clone(&seen);
        let read = tokio::spawn(async move {
            let query = loop {
                match reader.prepare("SELECT coalesce(max(id), 0) FROM probe").await {
                    Ok(query) => break query,
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            };
            loop {
                let last: i32 = reader.query_one(&query, &[]).await.unwrap().get(0);
                let at = Instant::now();
                committed.lock().unwrap().retain(|(n, since, written)| {
                    if *n <= last {
                        found.lock().unwrap().push((*written, (at - *since).as_secs_f64() * 1e3));
                    }
                    *n > last
                });
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        Self { seen, tasks: [write, read] }
    }

    /// Delays of the rows that were committed between these moments.
    pub(crate) fn between(&self, from: f64, to: f64) -> Vec<f64> {
        self.seen.lock().unwrap().iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, ms)| *ms).collect()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
