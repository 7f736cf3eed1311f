//! Cutovers behind a real pgbouncer: its clients wait and see no error, and what they were told is kept is kept.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

use crate::hooks::{plan_with, write_program};
use crate::migration::Said;
use crate::stage::Stage;
use crate::support::{TestPair, rows, run, text};

const DDL: &str = "CREATE TABLE items (id integer PRIMARY KEY, note text);
    INSERT INTO items SELECT -n, 'item ' || n FROM generate_series(1, 200) AS n; ANALYZE items";
const TABLES: &str = "    - { name: items, columns: { id: { type: bigint } } }\n";
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A pgbouncer with one database, `shop`.
pub struct Pgbouncer {
    dir: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Pgbouncer {
    pub fn start(stage: &Stage, pair: &TestPair) -> Self {
        assert!(std::path::Path::new(PROGRAM).exists(), "needs {PROGRAM}: apt-get install pgbouncer, as dev/test does");
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ini = format!(
            "[databases]\nshop = host=127.0.0.1 port={} dbname={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\nadmin_users = pgbouncer\npool_mode = transaction\n",
            pair.source.port(),
            stage.name
        );
        let path = dir.path().join("pgbouncer.ini");
        std::fs::write(&path, ini).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let child = Self::spawn(&dir, port);
        Self { dir, port, child }
    }

    fn spawn(dir: &tempfile::TempDir, port: u16) -> Child {
        let mut command = Command::new(PROGRAM);
        // It refuses to be root.
        let id = Command::new("id").arg("-u").output().unwrap();
        if id.stdout == b"0\n" {
            command.args(["-u", "postgres"]);
        }
        let ini = dir.path().join("pgbouncer.ini");
        let child = command.arg("-q").arg(ini).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "pgbouncer does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn start_again(&mut self) {
        self.child = Self::spawn(&self.dir, self.port);
    }

    pub async fn connect(&self, database: &str) -> Client {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).dbname(database).user("pgbouncer");
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    pub async fn paused(&self) -> bool {
        let console = self.connect("pgbouncer").await;
        for message in console.simple_query("SHOW DATABASES").await.unwrap() {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message
                && row.get("name") == Some("shop")
            {
                return row.get("paused") == Some("1");
            }
        }
        panic!("pgbouncer has no database shop");
    }

    fn plan(&self, stage: &Stage, fence_timeout: u32, more: &str) {
        self.plan_with(stage, fence_timeout, more, "");
    }

    /// A plan whose switch hook points this pgbouncer at the end that clients are to use; `more` is done before that, and `keys`
    /// are keys of the cutover.
    pub fn plan_with(&self, stage: &Stage, fence_timeout: u32, more: &str, keys: &str) {
        let ini = self.dir.path().join("pgbouncer.ini");
        let edit = "s/port=$PCRD_FROM_PORT/port=$PCRD_TO_PORT/";
        let switch = format!("#!/bin/sh\n{more}\nexec sed -i \"{edit}\" {}\n", ini.display());
        write_program(stage.migration.dir.path(), "switch.sh", &switch);
        write_program(stage.migration.dir.path(), "before.sh", "#!/bin/sh\nif [ -e before ]; then . ./before; fi\n");
        plan_with(
            &stage.migration,
            &format!(
                "cutover: {{ fence: pgbouncer, fence_timeout: {fence_timeout}, hooks: {{ before_fence: [./before.sh], \
                 switch: [./switch.sh] }}, pgbouncer: {{ admin_uri: 'postgresql://pgbouncer@127.0.0.1:{}/pgbouncer', \
                 databases: [shop] }}{keys} }}",
                self.port
            ),
        );
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Clients that write through the pgbouncer until they are stopped. An error that one of them sees fails the test.
pub struct Clients {
    tasks: JoinSet<Vec<u64>>,
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
}

impl Clients {
    pub async fn start(pgbouncer: &Pgbouncer) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for number in 1..=4_u64 {
            let client = pgbouncer.connect("shop").await;
            let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
            tasks.spawn(async move {
                let mut acknowledged = Vec::new();
                for id in number * 10_000_000.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let insert = format!("INSERT INTO items VALUES ({id}, 'by {number}')");
                    if let Err(error) = client.simple_query(&insert).await {
                        panic!("client {number}: {error}: {:?}", error.as_db_error());
                    }
                    acknowledged.push(id);
                    written.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                acknowledged
            });
        }
        Self { tasks, stop, written }
    }

    /// Waits until they have written again.
    pub async fn go_on(&self) {
        let (before, began) = (self.written.load(Ordering::Relaxed), Instant::now());
        while self.written.load(Ordering::Relaxed) < before + 50 {
            assert!(began.elapsed() < Duration::from_secs(60), "the clients do not go on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Everything that was acknowledged.
    pub async fn stop(mut self) -> BTreeSet<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeSet::new();
        while let Some(ended) = self.tasks.join_next().await {
            all.extend(ended.unwrap());
        }
        all
    }
}

pub async fn ids(client: &Client) -> BTreeSet<u64> {
    let found = rows(client, "SELECT id FROM items WHERE id > 0").await;
    let ids: BTreeSet<u64> = found.iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect();
    assert_eq!(ids.len(), found.len());
    ids
}

/// What the clients were told is on the target and nothing else, and a part of it came after the switch.
async fn assert_moved(stage: &Stage, acknowledged: &BTreeSet<u64>) {
    let (before, after) = (ids(&stage.source).await, ids(&stage.target).await);
    assert!(after == *acknowledged, "lost {:?}, came from nowhere {:?}", acknowledged - &after, &after - acknowledged);
    assert!(before.len() < after.len() && before.is_subset(&after));
    assert_eq!(text(&stage.target, "SELECT count(*) FROM items WHERE id < 0").await, "200");
    assert_eq!(
        text(&stage.target, "SELECT state FROM pcrd.migration ORDER BY created_at DESC LIMIT 1").await,
        "cut_over"
    );
    assert_eq!(text(&stage.source, "SELECT until::text FROM pcrd.fence").await, "infinity");
}

fn apply(stage: &Stage, failpoints: &str) -> Said {
    tokio::task::block_in_place(|| stage.start_through(failpoints).finish())
}

#[track_caller]
pub fn assert_code(said: &Said, code: Option<i32>) {
    assert_eq!(said.code, code, "{}\n{}", said.lines.join("\n"), said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_wait_and_see_no_error() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "waits", DDL, TABLES, "").await;
    let pgbouncer = Pgbouncer::start(&stage, &pair);
    pgbouncer.plan(&stage, 60, "");
    let shown = stage.migration.ok(&["show", "plan.json"]);
    assert!(
        shown.contains("fence: pgbouncer") && shown.contains("PAUSE and RESUME of shop at pgbouncer@127.0.0.1"),
        "{shown}"
    );
    let clients = Clients::start(&pgbouncer).await;
    assert_code(&apply(&stage, ""), Some(0));
    clients.go_on().await;
    let acknowledged = clients.stop().await;
    assert_moved(&stage, &acknowledged).await;
    // Whoever goes round the pooler meets the trigger.
    let refused = stage.source.batch_execute("DELETE FROM items").await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "25006");
}

/// A transaction that does not end keeps PAUSE waiting: everybody goes on as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_goes_on_ends_the_attempt() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "long", DDL, TABLES, "").await;
    let pgbouncer = Pgbouncer::start(&stage, &pair);
    pgbouncer.plan(&stage, 2, "");
    let clients = Clients::start(&pgbouncer).await;
    let idle = pgbouncer.connect("shop").await;
    run(&idle, "BEGIN; SELECT count(*) FROM items").await;
    let said = apply(&stage, "");
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("transactions of clients of shop were still open"), "{}", said.stderr);
    assert!(!pgbouncer.paused().await);
    clients.go_on().await;
    run(&idle, "COMMIT").await;
    plan_with_more_time(&pgbouncer, &stage);
    clients.go_on().await;
    let acknowledged = clients.stop().await;
    assert_moved(&stage, &acknowledged).await;
}

/// The fence's own time is a minute in this one.
fn plan_with_more_time(pgbouncer: &Pgbouncer, stage: &Stage) {
    assert_code(&tokio::task::block_in_place(|| stage.migration.start(&["abort", "--yes"], "").finish()), Some(0));
    pgbouncer.plan(stage, 60, "");
    assert_code(&apply(stage, ""), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_is_paused_the_next_one_lets_the_clients_go_on() {
    let pair = TestPair::start(15, 15);
    for point in [
        "pooler.after-pause",
        "cutover.after-fence",
        "cutover.after-sequences",
        "cutover.after-permanent",
        "hook.switch-kept",
        "cutover.after-switched",
    ] {
        let stage = Stage::new(&pair, &point.replace(['.', '-'], "_"), DDL, TABLES, "").await;
        let pgbouncer = Pgbouncer::start(&stage, &pair);
        pgbouncer.plan(&stage, 60, "");
        let clients = Clients::start(&pgbouncer).await;
        let said = apply(&stage, &format!("{point}=return(kill)"));
        assert_eq!(said.code, None, "{point} was never reached: {}\n{}", said.lines.join("\n"), said.stderr);
        assert!(pgbouncer.paused().await, "{point}");
        assert_code(&apply(&stage, ""), Some(0));
        assert!(!pgbouncer.paused().await, "{point}");
        clients.go_on().await;
        let acknowledged = clients.stop().await;
        assert_moved(&stage, &acknowledged).await;
        stage.end().await;
    }
    let stage = Stage::new(&pair, "aborted", DDL, TABLES, "").await;
    let pgbouncer = Pgbouncer::start(&stage, &pair);
    pgbouncer.plan(&stage, 60, "");
    let clients = Clients::start(&pgbouncer).await;
    assert_code(&apply(&stage, "cutover.after-drained=return(kill)"), None);
    assert!(pgbouncer.paused().await);
    assert_code(&tokio::task::block_in_place(|| stage.migration.start(&["abort", "--yes"], "").finish()), Some(0));
    assert!(!pgbouncer.paused().await);
    clients.go_on().await;
    let acknowledged = clients.stop().await;
    assert_eq!(ids(&stage.source).await, acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_asked_stops_nothing() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "gone", DDL, TABLES, "").await;
    let mut pgbouncer = Pgbouncer::start(&stage, &pair);
    pgbouncer.plan(&stage, 60, "");
    pgbouncer.kill();
    let said = apply(&stage, "");
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("pgbouncer: connect to its console"), "{}", said.stderr);
    run(&stage.source, "INSERT INTO items VALUES (1, 'open')").await;
    // One that somebody else has paused is not ours to let go on.
    pgbouncer.start_again();
    let console = pgbouncer.connect("pgbouncer").await;
    console.simple_query("PAUSE shop").await.unwrap();
    let said = apply(&stage, "");
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("paused already"), "{}", said.stderr);
    assert!(pgbouncer.paused().await);
    console.simple_query("RESUME shop").await.unwrap();
    // Dead between the look at it and PAUSE: the source stays open, and giving up ends when it is there again.
    let pid = pgbouncer.child.id();
    let before = stage.migration.dir.path().join("before");
    std::fs::write(&before, format!("kill -9 {pid}\n")).unwrap();
    let said = apply(&stage, "");
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("RESUME"), "{}", said.stderr);
    run(&stage.source, "INSERT INTO items VALUES (2, 'open')").await;
    std::fs::remove_file(&before).unwrap();
    pgbouncer.child.wait().unwrap();
    pgbouncer.start_again();
    assert_code(&apply(&stage, ""), Some(0));
    let through = pgbouncer.connect("shop").await;
    run(&through, "INSERT INTO items VALUES (3, 'moved')").await;
    assert_moved(&stage, &BTreeSet::from([1, 2, 3])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_dies_during_the_switch_is_asked_again() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "died", DDL, TABLES, "").await;
    let mut pgbouncer = Pgbouncer::start(&stage, &pair);
    let pid = pgbouncer.child.id();
    pgbouncer.plan(&stage, 60, &format!("kill -9 {pid}"));
    let said = apply(&stage, "");
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("pgbouncer: connect to its console"), "{}", said.stderr);
    let refused = stage.source.batch_execute("DELETE FROM items").await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "25006");
    pgbouncer.child.wait().unwrap();
    pgbouncer.start_again();
    assert_code(&apply(&stage, ""), Some(0));
    let through = pgbouncer.connect("shop").await;
    run(&through, "INSERT INTO items VALUES (3, 'moved')").await;
    assert_moved(&stage, &BTreeSet::from([3])).await;
}

/// A switch hook that succeeds and does nothing: the clients are not sent back to a source that is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_did_nothing_is_found_out() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "nothing", DDL, TABLES, "").await;
    let pgbouncer = Pgbouncer::start(&stage, &pair);
    pgbouncer.plan(&stage, 60, "if [ ! -e really ]; then exit 0; fi");
    let clients = Clients::start(&pgbouncer).await;
    let said = apply(&stage, "");
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("database shop still leads to"), "{}", said.stderr);
    assert!(pgbouncer.paused().await);
    std::fs::write(stage.migration.dir.path().join("really"), "").unwrap();
    let args = ["cutover", "--yes", "--switch-happened", "no"];
    assert_code(&tokio::task::block_in_place(|| stage.migration.start(&args, "").finish()), Some(0));
    clients.go_on().await;
    let acknowledged = clients.stop().await;
    assert_moved(&stage, &acknowledged).await;
}

/// Nobody can say what stands on a source that does not answer; whoever waits for it is told so by the server itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_dies_does_not_keep_the_clients_held() {
    let mut pair = TestPair::durable(15, 15);
    let stage = Stage::new(&pair, "dead", DDL, TABLES, "").await;
    let pgbouncer = Pgbouncer::start(&stage, &pair);
    pgbouncer.plan(&stage, 60, "");
    let running = stage.start_through("cutover.after-fence=sleep(2000)");
    let until = async |paused: bool| {
        let began = Instant::now();
        while pgbouncer.paused().await != paused {
            assert!(began.elapsed() < Duration::from_secs(60), "never {}", if paused { "paused" } else { "resumed" });
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until(true).await;
    pair.source.kill_immediate().unwrap();
    until(false).await;
    tokio::task::block_in_place(|| running.kill());
    pair.source.restart().unwrap();
    assert_code(&apply(&stage, ""), Some(0));
    let through = pgbouncer.connect("shop").await;
    run(&through, "INSERT INTO items VALUES (3, 'moved')").await;
    assert_eq!(ids(&stage.target).await, BTreeSet::from([3]));
}

/// Who has paused it lets it go on: a cutover that is refused for that does not, whatever else goes wrong.
#[tokio::test(flavor = "multi_thread")]
async fn the_pause_of_somebody_else_stays() {
    let mut pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "own_pause", DDL, TABLES, "").await;
    let pgbouncer = Pgbouncer::start(&stage, &pair);
    pgbouncer.plan(&stage, 60, "");
    pgbouncer.connect("pgbouncer").await.simple_query("PAUSE shop").await.unwrap();
    let mut running = stage.start_through("cutover.begin=1*sleep(5000)");
    stage.until_target("SELECT count(*) > 0 FROM pcrd.verified").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    pair.source.kill_immediate().unwrap();
    tokio::task::block_in_place(|| running.wait_for("trying again in"));
    assert!(pgbouncer.paused().await);
    running.kill();
}

/// An executor that wakes up without its sessions does not let go what another one holds by then.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_away_lets_nobody_go_whom_another_holds() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "away_paused", DDL, TABLES, "").await;
    let pgbouncer = Pgbouncer::start(&stage, &pair);
    pgbouncer.plan(&stage, 60, "");
    let clients = Clients::start(&pgbouncer).await;
    let mut away = stage.start_through("pooler.after-pause=1*sleep(15000)");
    // What an executor says waits with it.
    let until = async |attempt: u32| {
        stage.until_target(&format!("SELECT attempt = {attempt} FROM pcrd.cutover")).await;
        while !pgbouncer.paused().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until(1).await;
    stage.end_sessions().await;
    let next = ["--state", stage.copy_journal(), "--json", "apply", "plan.json", "--yes", "--through", "cutover"];
    let next = stage.migration.start(&next, "pooler.after-pause=1*sleep(25000)");
    until(2).await;
    tokio::task::block_in_place(|| away.wait_for("another executor has the migration"));
    assert!(pgbouncer.paused().await);
    assert_code(&tokio::task::block_in_place(|| next.finish()), Some(0));
    away.kill();
    clients.go_on().await;
    let acknowledged = clients.stop().await;
    assert_moved(&stage, &acknowledged).await;
}
