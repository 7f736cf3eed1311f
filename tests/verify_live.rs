//! Verification inside a run: nothing is found under writes, damage is found before the gate and at the fence.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pcrd::config;
use pcrd::exec::apply::{self, Outcome, Until};
use pcrd::exec::event::{Event, EventKind};
use pcrd::exec::{ExecError, verify};
use pcrd::ledger::request;
use pcrd::pg::{client, introspect};
use pcrd::plan::{self, Input, Phase, Plan, Settings};
use pcrd::resolve::{ResolveOptions, resolve};
use support::{TestPair, connect_to, run, text};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

const ROWS: u32 = 30_000;
/// The last rows, that no writer touches: a write would repair what a test damages there.
const ALONE: u32 = 1_000;

/// Two tables with an ordered key and one without any.
async fn pair() -> (TestPair, Plan) {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(
        &source,
        &format!(
            "CREATE TABLE public.items (id integer PRIMARY KEY, name text, n integer NOT NULL); \
             INSERT INTO public.items SELECT i, 'name ' || i, 0 FROM generate_series(1, {ROWS}) AS i; \
             CREATE TABLE public.small (id integer PRIMARY KEY, n integer); INSERT INTO public.small VALUES (1, 0), (2, 0); \
             CREATE TABLE public.log (id integer, at text); ALTER TABLE public.log REPLICA IDENTITY FULL; \
             INSERT INTO public.log SELECT i / 2, 'x' FROM generate_series(1, 500) AS i; ANALYZE"
        ),
    )
    .await;
    let end = |port| format!("{{ host: 127.0.0.1, port: {port}, database: postgres, user: postgres }}");
    let yaml = format!(
        "source: {}\ntarget: {}\nmigrate:\n  batch_size: 2000\n  workers: 2\n  tables:\n    - name: items\n      columns:\n        id: {{type: bigint}}\n    - name: small\n    - name: log\n",
        end(pair.source.port()),
        end(pair.target.port())
    );
    let config = config::parse("pcrd.config.yml", &yaml).unwrap_or_else(|errors| panic!("{errors:?}"));
    let catalog = async |cluster: &pcrd::pg::local::Cluster| {
        introspect::catalog(&client::connect(&cluster.conninfo("postgres"), "test").await.unwrap()).await.unwrap()
    };
    let (before, after) = (catalog(&pair.source).await, catalog(&pair.target).await);
    let options = ResolveOptions { config_text: yaml, ..ResolveOptions::default() };
    let resolved = resolve(&config.migrate.desired, &before, &after, &options).unwrap_or_else(|e| panic!("{e:?}"));
    let settings = Settings {
        slot: config.migrate.slot.clone(),
        publication: config.migrate.publication.clone(),
        batch_size: 2_000,
        batch_size_is_cap: true,
        workers: Some(2),
        max_rows_per_second: None,
        max_bytes_per_second: None,
        comparison: pcrd::plan::Comparison::default(),
        throttle: Default::default(),
        lag_threshold_bytes: 1_000_000,
        sequence_buffer: 1_000,
        lag_drain_timeout_s: 60,
        fence_timeout_ms: 30_000,
        session: [].into(),
        on_ddl: pcrd::plan::OnDdl::Stop,
        cutover: Default::default(),
    };
    let inputs = [Input { name: "pcrd.config.yml".to_owned(), sha256: config.digest.clone() }];
    (pair, plan::build(&resolved, &settings, &inputs).unwrap())
}

type Running = (JoinHandle<Result<Outcome, ExecError>>, mpsc::UnboundedReceiver<Event>, watch::Sender<bool>);

fn start(pair: &TestPair, plan: &Plan, until: Until) -> Running {
    let (events, received) = mpsc::unbounded_channel();
    let (stop, shutdown) = watch::channel(false);
    let request = apply::Request {
        limits: pcrd::exec::cutover::Limits::default(),
        word: None,
        pooler: None,
        back: None,
        wish: None,
        only_goes_on: false,
        source_is_lost: false,
        plan: plan.clone(),
        adopts: None,
        repair: None,
        source: pair.source.conninfo("postgres"),
        target: pair.target.conninfo("postgres"),
        until,
        events,
        shutdown,
    };
    (tokio::spawn(apply::run(request)), received, stop)
}

async fn through(pair: &TestPair, plan: &Plan, until: Until) -> Result<Outcome, ExecError> {
    let (run, _events, _stop) = start(pair, plan, until);
    finished(run).await
}

async fn finished(run: JoinHandle<Result<Outcome, ExecError>>) -> Result<Outcome, ExecError> {
    tokio::time::timeout(Duration::from_secs(120), run).await.expect("a run of two minutes").unwrap()
}

/// Writers that change, move, add and remove rows until told to stop; gives the number of transactions.
fn write(pair: &TestPair) -> (JoinHandle<u64>, Arc<AtomicBool>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (info, told) = (pair.source.conninfo("postgres"), Arc::clone(&stop));
    let task = tokio::spawn(async move {
        let client = support::connect(&info).await;
        let mut n = 0_u64;
        while !told.load(Ordering::SeqCst) {
            let at = 1 + n * 7919 % u64::from(ROWS - ALONE - 3);
            let more = u64::from(ROWS) + 1 + n;
            let sql = format!(
                "BEGIN; UPDATE public.items SET n = n + 1 WHERE id BETWEEN {at} AND {at} + 3; \
                 INSERT INTO public.items VALUES ({more}, 'new', {n}); DELETE FROM public.items WHERE id = {more} - 50; \
                 UPDATE public.items SET id = -{more} WHERE id = {at} AND {n} % 5 = 0; \
                 UPDATE public.small SET n = n + 1 WHERE id = 1; COMMIT"
            );
            if client.batch_execute(&sql).await.is_err() {
                // The fence refuses writes.
                break;
            }
            n += 1;
        }
        n
    });
    (task, stop)
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_meanwhile_are_no_differences_and_damage_is_one() {
    let (pair, plan) = pair().await;
    let (writer, stop) = write(&pair);
    assert_eq!(through(&pair, &plan, Until::Phase(Phase::Verify)).await.unwrap(), Outcome::Reached(Phase::Verify));
    let target = connect_to(&pair.target, "postgres").await;
    let verified = "SELECT string_agg(tbl || ' ' || state || ' ' || differences, ', ' ORDER BY tbl) FROM pcrd.verified";
    assert_eq!(
        text(&target, verified).await,
        "public.items verified 0, public.log verified 0, public.small verified 0"
    );
    let compared: i64 =
        text(&target, "SELECT rows FROM pcrd.verified WHERE tbl = 'public.items'").await.parse().unwrap();
    assert!(compared > i64::from(ROWS) / 2, "{compared} rows compared");

    // A new process knows nothing of the last one's result.
    run(&target, "UPDATE public.items SET name = 'broken' WHERE id = 29500").await;
    let error = through(&pair, &plan, Until::Phase(Phase::Verify)).await.unwrap_err();
    assert_eq!(error.to_string(), "verification found 1 difference(s): public.items: row (29500) differs in name");
    run(&target, "UPDATE public.items SET name = 'name 29500' WHERE id = 29500; DELETE FROM public.log WHERE id = 7")
        .await;
    let error = through(&pair, &plan, Until::Phase(Phase::Verify)).await.unwrap_err();
    assert!(error.to_string().starts_with("verification found 2 difference(s): public.log: row (ctid "), "{error}");
    run(&target, "INSERT INTO public.log VALUES (7, 'x'), (7, 'x')").await;
    assert_eq!(through(&pair, &plan, Until::Phase(Phase::Verify)).await.unwrap(), Outcome::Reached(Phase::Verify));
    stop.store(true, Ordering::SeqCst);
    assert!(writer.await.unwrap() > 20, "the writer did not write");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_last_is_compared_at_the_fence() {
    let (pair, plan) = pair().await;
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    let ledger = client::connect(&pair.target.conninfo("postgres"), "test").await.unwrap();
    let (running, mut events, _stop) = start(&pair, &plan, Until::Gate);
    while let Some(event) = events.recv().await {
        if matches!(event.kind, EventKind::Gate { ready: true, .. }) {
            break;
        }
    }
    let id = text(&target, "SELECT id FROM pcrd.migration").await;
    let ask = async |kind: &str| {
        let number = request::put(&ledger, &id, kind, None, "test").await.unwrap();
        for _ in 0..1_200 {
            if let Some(outcome) = request::outcome(&ledger, number).await.unwrap() {
                return outcome;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no answer to {kind}");
    };
    let outcome = ask("verify").await;
    let report: serde_json::Value = serde_json::from_str(&outcome.text).unwrap();
    assert!(outcome.ok, "{report}");
    assert_eq!(report["tables"][0]["rows_compared"], ROWS, "{report}");

    // The applier writes a row that somebody damages before the fence: it is a key that must be compared there.
    run(&source, "UPDATE public.items SET n = 77 WHERE id = 4711; INSERT INTO public.log VALUES (1, 'late')").await;
    while text(&target, "SELECT n FROM public.items WHERE id = 4711").await != "77" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    run(&target, "UPDATE public.items SET n = 78 WHERE id = 4711").await;
    let refused = ask("cutover").await;
    assert!(!refused.ok && refused.text.contains("public.items: row (4711) differs in n"), "{}", refused.text);
    run(&source, "UPDATE public.small SET n = 5 WHERE id = 2").await;
    run(&target, "UPDATE public.items SET n = 77 WHERE id = 4711").await;
    running.abort();
    let _ended = running.await;

    let (running, mut events, _stop) = start(&pair, &plan, Until::Cutover);
    let writer = write(&pair).0;
    assert_eq!(finished(running).await.unwrap(), Outcome::Switched);
    let written = writer.await.unwrap();
    let mut notes = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let EventKind::Note { text } = event.kind {
            notes.push(text);
        }
    }
    assert!(notes.iter().any(|note| note.ends_with("were compared after writes had stopped")), "{notes:?}");
    assert!(written > 0);

    // After the switch everything is compared without an executor, and what the target changed since is listed.
    let (sender, _receiver) = mpsc::unbounded_channel();
    let ends = (pair.source.conninfo("postgres"), pair.target.conninfo("postgres"));
    let alone = pcrd::exec::context::Run::new(plan, ends.0, ends.1, sender, watch::channel(false).1);
    let report = verify::standalone(&alone, &verify::Wish::default()).await.unwrap();
    assert!(report.passed, "{report:?}");
    run(&target, "UPDATE public.small SET n = -1 WHERE id = 2").await;
    let report = verify::standalone(&alone, &verify::Wish::default()).await.unwrap();
    assert_eq!(report.differences(), (1, "public.small: row (2) differs in n".to_owned()));
}
