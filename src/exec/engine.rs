//! Copy and stream at the same time, then catch-up, verification and the gate, all while the stream goes on.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::apply::{Outcome, Until, stopped};
use super::context::Run;
use super::copy::{CopyWorker, LaneWork, write_slowly};
use super::cutover::{BrokenOff, Decided, Limits};
use super::event::EventKind;
use super::left_out::LeftOut;
use super::owners_and_grants::Wanted;
use super::pace::Stint;
use super::reread::Rereader;
use super::restarted::Restarted;
use super::shared::Shared;
use super::steps::Steps;
use super::stream::{Applier, Parts, Sentinel};
use super::table::TableTask;
use super::touched::Touched;
use super::{
    ExecError, added, back, catchup, continuity, cutover, gate, lanes, late, owners_and_grants, pooler, sampler,
    switch, upkeep, verify,
};
use crate::ledger::progress::{self, Progress};
use crate::ledger::request;
use crate::pg::client::Client;
use crate::pg::replication::{self, PgoutputOptions, StreamLimits};
use crate::plan::{End, Op, Phase};
use crate::replay::Snapshot;

/// After the operator asks to stop, what goes on is given this long to end by itself.
const DRIVE_GRACE: Duration = Duration::from_millis(1_000);
/// Then the open group is given this long to be committed.
const STOP_GRACE: Duration = Duration::from_millis(1_500);
/// And the servers this long to end what was left behind.
const LEAVE_GRACE: Duration = Duration::from_millis(500);

/// How the driver ended.
enum Ended {
    /// Stopped after this phase, as asked.
    Reached(Phase),
    /// The clients are to be moved.
    Decided {
        /// The request for it.
        asked: Option<i64>,
        /// The rest of the cutover.
        decided: Decided,
    },
}

/// A run with its stream going.
pub struct Engine {
    /// Plan and events.
    pub run: Arc<Run>,
    /// For ledger and DDL; holds the executor's locks.
    pub ledger: Client,
    /// For questions to the source.
    pub source: Client,
    /// Tables of the plan.
    pub tables: Arc<Vec<TableTask>>,
    /// Router and positions.
    pub shared: Arc<Shared>,
    /// Keys that the applier wrote.
    pub touched: Arc<Touched>,
    /// Messages that pcrd wrote into the source's log.
    pub sentinels: mpsc::UnboundedReceiver<Sentinel>,
    /// Those of fences of this process.
    pub raised: Vec<String>,
    /// Requests to cut over.
    pub cutovers: mpsc::UnboundedReceiver<request::Request>,
    /// Ends the stream between two transactions.
    pub stop_stream: watch::Sender<bool>,
    /// Says that the stream has ended as asked.
    pub stream_ended: watch::Receiver<bool>,
    /// The pooler's clients may be held for the current attempt to cut over.
    pub is_held: bool,
}

/// Runs copy and stream and what follows.
pub async fn run(
    run: Arc<Run>,
    mut ledger: Client,
    source: Client,
    tables: Arc<Vec<TableTask>>,
    (cutover_sender, cutovers): (mpsc::UnboundedSender<request::Request>, mpsc::UnboundedReceiver<request::Request>),
    (until, limits): (Until, Limits),
) -> Result<Outcome, ExecError> {
    let progress = progress::read(&ledger, &run.id)
        .await?
        .ok_or_else(|| ExecError::Gap { reason: "the ledger has no position of the stream".to_owned() })?;
    let (router, work, chunks_found) = lanes::restore(&run, &mut ledger, &source, &tables, &progress).await?;
    let mut copied = Vec::new();
    for task in tables.iter() {
        let chunks = crate::ledger::chunk::chunks(&ledger, &run.id, &task.name).await?;
        copied.push(chunks.iter().fold((0, 0), |sum, chunk| (sum.0 + chunk.rows as u64, sum.1 + chunk.bytes as u64)));
    }
    let shared = Arc::new(Shared::new(router, progress.applied, copied));
    shared.counters.chunks_resumed.store(chunks_found, Ordering::Relaxed);
    let touched = Arc::new(Touched::new(tables.len()));
    let (sentinel_sender, sentinels) = mpsc::unbounded_channel();
    let (stop_stream, stop) = watch::channel(false);
    let (ended, stream_ended) = watch::channel(false);

    let applier = start_applier(&run, &ledger, &shared, &tables, &touched, &progress, sentinel_sender).await?;
    let mut background = JoinSet::new();
    background.spawn(async move {
        applier.apply(stop).await?;
        ended.send_replace(true);
        // From here on the driver alone decides; a task that returns would look like a failure.
        std::future::pending().await
    });
    let never = watch::Sender::new(false);
    background.spawn(upkeep::run(
        Arc::clone(&run),
        Arc::clone(&shared),
        Arc::clone(&tables),
        Arc::clone(&touched),
        cutover_sender,
        never.subscribe(),
    ));
    background.spawn(sampler::run(Arc::clone(&run), Arc::clone(&shared)));

    let mut engine = Engine {
        run: Arc::clone(&run),
        ledger,
        source,
        tables,
        shared,
        touched,
        sentinels,
        raised: Vec::new(),
        cutovers,
        stop_stream,
        stream_ended,
        is_held: false,
    };
    let driven = AssertUnwindSafe(Box::pin(engine.drive(work, &progress, until, limits))).catch_unwind();
    let (result, broken_off) = tokio::select! {
        result = driven => match result {
            Ok(result) => (result, false),
            Err(panic) => (Err(ExecError::panic(panic.as_ref())), true),
        },
        Some(failed) = background.join_next() => (Err(ExecError::ended(failed)), true),
        () = stopped(&run.shutdown, DRIVE_GRACE, &run.holds) => (Err(ExecError::Interrupted), true),
    };
    // Out of reach of a background task that fails: its failure decides nothing any more.
    let mut _hold = None;
    let result = match result {
        Ok(Ended::Decided { asked, decided: Decided { fenced_at, rights, hold } }) => {
            // To the very end: a stop must not take the place of what came of it.
            _hold = Some(hold);
            complete(&run, &engine.ledger, asked, (fenced_at, &rights)).await
        }
        Ok(Ended::Reached(phase)) => Ok(Outcome::Reached(phase)),
        Err(error) => Err(error),
    };
    if broken_off {
        // An index build would go on without us, and hold our locks.
        let statements = async { tokio::join!(engine.ledger.cancel(), engine.source.cancel()) };
        let _late = tokio::time::timeout(LEAVE_GRACE, statements).await;
    }
    if matches!(result, Ok(Outcome::Reached(_)) | Err(ExecError::Interrupted | ExecError::AbortRequested)) {
        // A failure to stop in time costs nothing but a repetition: the ledger knows what was committed.
        let _late = tokio::time::timeout(STOP_GRACE, engine.end_stream()).await;
    }
    background.abort_all();
    while background.join_next().await.is_some() {}
    for (name, value) in engine.shared.counters.all() {
        run.emit(None, EventKind::Counter { name: name.to_owned(), value });
    }
    if broken_off {
        // A transaction that was broken off may hold the fence's row.
        let Engine { ledger, source, is_held, .. } = engine;
        drop(source);
        let opened = tokio::time::timeout(LEAVE_GRACE, cutover::open_source(&run, &ledger)).await;
        match opened {
            Ok(Ok(BrokenOff::Opened)) => {
                match switch::after_opening(&run, &ledger, run.epoch).await {
                    Ok(None) => {}
                    Ok(Some(trouble)) => run.note(trouble),
                    // The next executor gives it up again.
                    Err(error) => run.note(format!("giving up the cutover is not done: {error}")),
                }
                back::disarm_or_say(&run, &ledger).await;
            }
            Ok(Ok(BrokenOff::Unfenced)) => back::disarm_or_say(&run, &ledger).await,
            Ok(Ok(BrokenOff::Decided)) => {}
            Ok(Err(_)) | Err(_) if is_held => pooler::let_go(&run).await,
            Ok(Err(_)) | Err(_) => {}
        }
    }
    result
}

/// Moves the clients, and answers who asked for it.
async fn complete(
    run: &Run,
    ledger: &Client,
    asked: Option<i64>,
    (fenced_at, rights): (Instant, &Wanted),
) -> Result<Outcome, ExecError> {
    let completed = switch::complete(run, ledger, (&mut None, rights)).await;
    if completed.is_ok() {
        run.note(format!("fenced to switched in {} ms", fenced_at.elapsed().as_millis()));
        // The switch is made, whatever becomes of what is said about it.
        let _said = added::say(run, ledger).await;
    }
    let Some(asked) = asked else { return completed.map(|()| Outcome::Switched) };
    if let Err(error) = completed {
        request::end(ledger, asked, false, &format!("{error}; pcrd status says how it can go on")).await?;
        return Err(error);
    }
    let mut answer = vec!["the target is the database now".to_owned()];
    match added::lines(ledger, &run.id).await {
        Ok(lines) => answer.extend(lines),
        // After the switch this undoes nothing, but must not look like "none".
        Err(error) => answer.push(format!(
            "which columns came to the source meanwhile could not be read ({error}): pcrd status lists them"
        )),
    }
    match owners_and_grants::lines(run, ledger).await {
        Ok(lines) => answer.extend(lines),
        Err(error) => answer.push(format!(
            "whether the target has all its owners and grants could not be read ({error}): pcrd status lists what it lacks"
        )),
    }
    answer.extend(late::lines(run, ledger).await.unwrap_or_else(|error| vec![switch::unknown(&error)]));
    request::end(ledger, asked, true, &answer.join("\n")).await?;
    Ok(Outcome::Switched)
}

/// The applier of a run, or of its mirror image.
pub(super) async fn start_applier(
    run: &Arc<Run>,
    ledger: &Client,
    shared: &Arc<Shared>,
    tables: &Arc<Vec<TableTask>>,
    touched: &Arc<Touched>,
    progress: &Progress,
    sentinels: mpsc::UnboundedSender<Sentinel>,
) -> Result<Applier, ExecError> {
    let name = run.session_name("stream");
    let pg = |error| ExecError::Postgres { side: End::Source, doing: "start replication".to_owned(), error };
    let replication = async { replication::connect(&run.source, &name).await.map_err(pg) };
    // That of the way back is started while nobody can write.
    let (target, source, mut connection) =
        tokio::try_join!(run.connect_applier("apply"), run.connect(End::Source, "reread"), replication)?;
    let rereader = Rereader::new(Arc::clone(run), Arc::clone(shared), source);
    let identity = connection.identify_system().await.map_err(pg)?;
    if identity.system_id != run.plan.source.server.system_identifier {
        return Err(ExecError::Stale {
            what: format!("{} server", run.end(End::Source)),
            difference: format!("the replication connection reached system {}", identity.system_id),
        });
    }
    run.check_replication(&identity)?;
    continuity::check_timeline(run, ledger, &mut connection, progress, identity.timeline).await?;
    let options = PgoutputOptions {
        publications: vec![run.plan.settings.publication.clone()],
        messages: connection.server_version_num >= 140_000,
        origin_none: false,
    };
    let stream = connection
        .start(&run.plan.settings.slot, progress.applied, &options, StreamLimits::default())
        .await
        .map_err(pg)?;
    shared.set_nudge(stream.nudge());
    Ok(Applier::new(Parts {
        run: Arc::clone(run),
        shared: Arc::clone(shared),
        tables: Arc::clone(tables),
        target,
        stream,
        rereader,
        touched: Arc::clone(touched),
        left_out: LeftOut::read(ledger, &run.id, tables).await?,
        restarted: Restarted::read(ledger, &run.id, tables).await?,
        near: progress.near,
        sentinels,
    }))
}

impl Engine {
    async fn drive(
        &mut self,
        work: Vec<LaneWork>,
        progress: &Progress,
        until: Until,
        limits: Limits,
    ) -> Result<Ended, ExecError> {
        self.copy(work, progress).await?;
        if until == Until::Phase(Phase::Copy) {
            return Ok(Ended::Reached(Phase::Copy));
        }
        catchup::run(self).await?;
        if until == Until::Phase(Phase::Catchup) {
            return Ok(Ended::Reached(Phase::Catchup));
        }
        verify::tables(self).await?;
        if until == Until::Phase(Phase::Verify) {
            return Ok(Ended::Reached(Phase::Verify));
        }
        if until == Until::Cutover {
            gate::wait_open(self).await?;
            return cutover::run(self, limits).await.map(|decided| Ended::Decided { asked: None, decided });
        }
        loop {
            let asked = gate::wait_for_request(self).await?;
            let limits = match Limits::of_request(asked.argument.as_deref()) {
                Ok(limits) => limits,
                Err(text) => {
                    request::end(&self.ledger, asked.id, false, &text).await?;
                    continue;
                }
            };
            match cutover::run(self, limits).await {
                Ok(decided) => return Ok(Ended::Decided { asked: Some(asked.id), decided }),
                Err(ExecError::CutoverAborted { reason }) => {
                    let text = format!("the cutover was given up and the source is open again: {reason}");
                    self.run.note(text.clone());
                    request::end(&self.ledger, asked.id, false, &text).await?;
                    if *self.stop_stream.borrow() {
                        return Err(ExecError::StreamEnded);
                    }
                }
                Err(error) => {
                    let text = match &error {
                        ExecError::Reshaped { .. } => {
                            format!(
                                "the cutover was given up and the source is open again: {error}; ask again when that is taken over"
                            )
                        }
                        other => other.to_string(),
                    };
                    request::end(&self.ledger, asked.id, false, &text).await?;
                    return Err(error);
                }
            }
        }
    }

    /// Copies all lanes with the plan's number of workers, while the stream goes on.
    async fn copy(&mut self, mut work: Vec<LaneWork>, progress: &Progress) -> Result<(), ExecError> {
        let mut steps = Steps::read(&self.run, &self.ledger).await?;
        let began = Instant::now();
        let plan = Arc::clone(&self.run);
        let copies: Vec<_> =
            plan.plan.steps.iter().filter(|step| matches!(step.op, Op::CopyTable(_) | Op::StreamChanges(_))).collect();
        for step in copies.iter().filter(|step| !steps.done(&step.id)) {
            steps.start(&self.ledger, step).await?;
        }
        // Lanes of the table with the most rows first; `pop` takes from the end.
        work.sort_by_key(|lane| std::cmp::Reverse(lane.table));
        self.copy_lanes(work, &progress.slot_snapshot).await?;
        self.settle().await?;
        for step in copies.iter().filter(|step| matches!(step.op, Op::CopyTable(_))) {
            if steps.done(&step.id) {
                continue;
            }
            steps.succeed(&self.ledger, step, began).await?;
        }
        Ok(())
    }

    /// Copies the lanes with as many workers as there are to be, which may change meanwhile. With fewer, those that have
    /// begun take turns until their lanes end.
    async fn copy_lanes(&self, work: Vec<LaneWork>, slot_snapshot: &Snapshot) -> Result<(), ExecError> {
        let _copying = self.run.throttle.at("copy");
        let queue = Arc::new(std::sync::Mutex::new(work));
        let next = |queue: &std::sync::Mutex<Vec<LaneWork>>| queue.lock().expect("no task panics with the queue").pop();
        let mut wanted = self.run.throttle.watch_workers();
        let mut workers = JoinSet::new();
        loop {
            let most = *wanted.borrow_and_update();
            while workers.len() < most
                && let Some(mut lane) = next(&queue)
            {
                let (run, shared) = (Arc::clone(&self.run), Arc::clone(&self.shared));
                let (queue, tables, slot_snapshot) =
                    (Arc::clone(&queue), Arc::clone(&self.tables), slot_snapshot.clone());
                workers.spawn(async move {
                    let reads_slowly = run.throttle.pace.is_slow();
                    let source = run.connect_reader("copy", reads_slowly).await?;
                    let target = run.connect_applier("copy").await?;
                    write_slowly(&target, reads_slowly).await?;
                    let mut worker = CopyWorker {
                        run,
                        shared,
                        source,
                        target,
                        slot_snapshot,
                        size: None,
                        stint: Stint::of_chunk(),
                        last: None,
                        reads_slowly,
                    };
                    loop {
                        let task = &tables[lane.table];
                        worker.copy_lane(task, lane).await?;
                        let Some(more) = next(&queue) else { return Ok::<(), ExecError>(()) };
                        lane = more;
                    }
                });
            }
            tokio::select! {
                ended = workers.join_next() => match ended {
                    Some(Ok(result)) => result?,
                    Some(Err(error)) => return Err(ExecError::task(error)),
                    None => return Ok(()),
                },
                // The sender lives as long as the run.
                _changed = wanted.changed() => {}
            }
        }
    }

    /// Waits until no snapshot matters any more, neither a chunk's nor a re-read row's: from here on the target is the source
    /// as of the applied position, but for rows that are read again later.
    pub async fn settle(&self) -> Result<(), ExecError> {
        let last = self.shared.router().unsettled(self.shared.applied());
        match last {
            Some(lsn) => self.shared.wait_applied(lsn, &self.run).await,
            None => Ok(()),
        }
    }

    /// Ends the stream between two transactions, with everything confirmed that is committed.
    pub async fn end_stream(&mut self) -> Result<(), ExecError> {
        self.stop_stream.send_replace(true);
        if self.stream_ended.wait_for(|ended| *ended).await.is_err() {
            // The applier died, and its own error ends the run: this must not look like the end that was asked for.
            return std::future::pending().await;
        }
        Ok(())
    }
}
