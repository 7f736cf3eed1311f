//! What every task of a run is given: the plan, who we are, and how to be told to stop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};

use super::ExecError;
use super::error::Refused;
use super::event::{Event, EventKind};
use super::hook::Holds;
use super::identity::{Identities, Identity};
use super::throttle::Throttle;
use super::verify::Wish;
use crate::catalog::QualifiedName;
use crate::pg::client::{self, Client};
use crate::pg::conninfo::Conninfo;
use crate::pg::replication::SystemIdentity;
use crate::plan::{End, Plan, StepId};

/// One run of one plan by one executor.
#[derive(Debug)]
pub struct Run {
    /// The plan.
    pub plan: Plan,
    /// Plan id as the ledger has it.
    pub id: String,
    /// This executor's epoch.
    pub epoch: i64,
    /// What the ends were when this attempt began; nothing for a command that does its work at once.
    pub identities: Option<Identities>,
    /// The source.
    pub source: Conninfo,
    /// The target.
    pub target: Conninfo,
    /// Where events go.
    pub events: mpsc::UnboundedSender<Event>,
    /// True once the operator asked to stop.
    pub shutdown: watch::Receiver<bool>,
    /// How fast rows are copied and compared.
    pub throttle: Throttle,
    /// Rows that the target refused: what the source has by now may fit.
    pub refused: BTreeMap<(String, Vec<String>), Arc<Refused>>,
    /// Columns by source table that the stream had and an earlier attempt did not know.
    pub came: BTreeSet<(QualifiedName, String)>,
    /// The plan whose run is to go on under this one.
    pub adopts: Option<Arc<Plan>>,
    /// What is to be done about rows that differ.
    pub repair: Option<Wish>,
    /// The admin console of the pooler, where the config has one.
    pub pooler: Option<Conninfo>,
    /// The source as the role of the way back, where the config names one.
    pub back: Option<Conninfo>,
    /// What a stop waits for.
    pub holds: Holds,
    /// Its source is the target, and its target the source.
    pub is_mirrored: bool,
    /// A migration that somebody has given up meanwhile is not begun again.
    pub only_goes_on: bool,
}

/// Milliseconds since the Unix epoch, for events.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
}

impl Run {
    /// A run that is not registered yet: its epoch is 0.
    pub fn new(
        plan: Plan,
        source: Conninfo,
        target: Conninfo,
        events: mpsc::UnboundedSender<Event>,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        let id = plan.id.0.clone();
        let throttle = Throttle::new(&plan.settings);
        let refused = BTreeMap::new();
        let identities = None;
        let came = BTreeSet::new();
        Self {
            plan,
            id,
            epoch: 0,
            identities,
            source,
            target,
            events,
            shutdown,
            throttle,
            refused,
            came,
            adopts: None,
            repair: None,
            pooler: None,
            back: None,
            holds: Holds::default(),
            is_mirrored: false,
            only_goes_on: false,
        }
    }

    /// What the operator knows this end as.
    pub fn end(&self, end: End) -> End {
        if self.is_mirrored { end.other() } else { end }
    }

    /// Workers of copy and verification: as the plan or the operator says, or one a core of this machine and at most four.
    pub fn workers(&self) -> usize {
        self.throttle.workers()
    }

    /// Says that something happened.
    pub fn emit(&self, step: Option<&StepId>, kind: EventKind) {
        // The reader of events may end before the run does.
        let _no_reader = self.events.send(Event { at_ms: now_ms(), step: step.cloned(), kind });
    }

    /// Says something to the operator.
    pub fn note(&self, text: impl Into<String>) {
        self.emit(None, EventKind::Note { text: text.into() });
    }

    /// Says that something waits.
    pub fn waiting(&self, reason: impl Into<String>) {
        self.emit(None, EventKind::Waiting { reason: reason.into() });
    }

    /// An error once the operator asked to stop.
    pub fn stop_check(&self) -> Result<(), ExecError> {
        if *self.shutdown.borrow() { Err(ExecError::Interrupted) } else { Ok(()) }
    }

    /// Sleeps, or fails as soon as the operator asks to stop.
    pub async fn sleep(&self, time: Duration) -> Result<(), ExecError> {
        let mut shutdown = self.shutdown.clone();
        tokio::select! {
            () = tokio::time::sleep(time) => self.stop_check(),
            _ = shutdown.wait_for(|stop| *stop) => Err(ExecError::Interrupted),
        }
    }

    /// `application_name` of a session, by which a server's operator knows us.
    pub fn session_name(&self, role: &str) -> String {
        format!("pcrd/{}/{role}", self.plan.id.short())
    }

    /// Connects to one end, with the pinned session settings. In an attempt, the server must be the one that it began with.
    pub async fn connect(&self, end: End, role: &str) -> Result<Client, ExecError> {
        let info = match end {
            End::Source => &self.source,
            End::Target => &self.target,
        };
        self.connect_to(end, info, role).await
    }

    /// Connects to read rows from the source: `slowly`, when the source may not run far ahead.
    pub async fn connect_reader(&self, role: &str, slowly: bool) -> Result<Client, ExecError> {
        let info = Conninfo { small_segments: slowly, ..self.source.clone() };
        self.connect_to(End::Source, &info, role).await
    }

    async fn connect_to(&self, end: End, info: &Conninfo, role: &str) -> Result<Client, ExecError> {
        let name = self.session_name(role);
        let client = client::connect(info, &name).await.map_err(|error| ExecError::Postgres {
            side: end,
            doing: format!("connect as {role}"),
            error,
        })?;
        if let Some(identities) = &self.identities {
            identities.of(end).check(end, &Identity::read(end, &client).await?)?;
        }
        Ok(client)
    }

    /// The same for a replication connection to the source, which says itself what it reached.
    ///
    /// # Errors
    /// Another server or timeline than the attempt began with.
    pub fn check_replication(&self, found: &SystemIdentity) -> Result<(), ExecError> {
        let found = Identity { system: found.system_id.clone(), timeline: Some(found.timeline) };
        self.identities.as_ref().map_or(Ok(()), |identities| identities.source.check(End::Source, &found))
    }

    /// Connects to the target as a session that applies rows: user triggers and foreign keys are silent.
    pub async fn connect_applier(&self, role: &str) -> Result<Client, ExecError> {
        let client = self.connect(End::Target, role).await?;
        client
            // Prepared while a table was empty, a statement would go on scanning it when it is full.
            .batch_execute(
                "SET session_replication_role = replica; SET synchronous_commit = on; SET enable_seqscan = off; \
                 SET enable_hashjoin = off; SET enable_mergejoin = off",
            )
            .await
            .map_err(ExecError::target("set session_replication_role"))?;
        Ok(client)
    }
}
