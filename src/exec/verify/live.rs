//! Exact comparison while both ends are written: the source under a short snapshot, the target once it has applied
//! everything that the snapshot can see, and without the keys that it has applied beyond that.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::moment::Moment;
use super::ranges::{self, Compared, Found};
use super::sides::{KeyTexts, Selection, Sides, Subject, Sums};
use super::whole::{self, Buckets};
use crate::exec::context::Run;
use crate::exec::left_out::LeftOut;
use crate::exec::shared::Shared;
use crate::exec::table::TableTask;
use crate::exec::touched::Touched;
use crate::exec::{ExecError, copy, partitions, snapshots};
use crate::pg::client::Client;
use crate::replay::{FullXid, Key, Lsn, Snapshot};
use crate::sql::hash::Digest;
use crate::sql::range::Counted;
use crate::sql::{self, Side};

/// A source transaction is held open at most this long for the stream.
pub(super) const APPLY_PATIENCE: Duration = Duration::from_secs(10);
/// With more keys than this to leave out, smaller ranges are compared.
const EXCEPT_MAX: usize = 10_000;

/// Two connections that compare chunk by chunk.
pub struct Visitor {
    /// Plan and events.
    pub run: Arc<Run>,
    /// Positions.
    pub shared: Arc<Shared>,
    /// What the applier wrote.
    pub touched: Arc<Touched>,
    /// Changes that were left out on purpose.
    pub left_out: LeftOut,
    /// The source.
    pub source: Client,
    /// The target.
    pub target: Client,
    /// What both servers compute alike.
    pub digest: Digest,
    /// Rows that differ are reported with their values.
    pub shows_values: bool,
    /// Every place that differs is wanted, however many rows do.
    pub wants_all_places: bool,
    /// Every row of a table is to be compared.
    pub is_full: bool,
    /// The newest transaction id that the stream knew when verification began. An earlier process may have applied
    /// transactions up to here that are not visible on the source yet, and it took its touched keys with it.
    pub inherited: FullXid,
    /// Both connections are in transactions of one moment, and everything is compared as of it.
    pub moment: Option<Arc<Moment>>,
}

/// What became of a visit.
#[derive(Debug)]
pub enum Visit {
    /// Equal, but for keys that remain touched.
    Clean(Clean),
    /// Nothing can be said yet.
    Again(Why),
    /// These rows differ, and nothing that is under way explains it.
    Different(Clean, Found),
}

/// Why nothing could be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The stream did not get there in time.
    Late(Lsn),
    /// Too much was written meanwhile.
    Hot,
    /// Rows differ, but a transaction that is older than this process is not visible yet and may be the reason.
    Inherited(FullXid),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late(lsn) => write!(f, "the stream has not reached {lsn} after {} s", APPLY_PATIENCE.as_secs()),
            Self::Hot => f.write_str("too many of its rows were written meanwhile"),
            Self::Inherited(xid) => {
                write!(f, "rows differ, but transaction {xid} of the source, older than this process, is still open")
            }
        }
    }
}

/// What was compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clean {
    /// Rows of the source.
    pub rows_source: u64,
    /// Rows of the target.
    pub rows_target: u64,
    /// Rows compared.
    pub rows_compared: u64,
}

/// A range by its keys in both forms.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    /// First key.
    pub lo: Option<KeyTexts>,
    /// First key after it.
    pub hi: Option<KeyTexts>,
}

/// What is visited.
#[derive(Debug, Clone)]
pub enum Place {
    /// A range of keys.
    Range(Bounds),
    /// Some keys.
    Keys(Vec<Key>),
    /// A key of which a change was left out; every other place is compared without such keys.
    LeftOut(Key),
}

impl Visitor {
    /// What is compared, and where.
    pub fn sides<'a>(&'a self, task: &'a TableTask) -> Sides<'a> {
        let (projection, frozen) = (&task.projection, &task.frozen);
        let subject = Subject { projection, frozen, digest: self.digest, shows_values: self.shows_values };
        Sides { source: &self.source, target: &self.target, subject }
    }

    /// The end of the chunk of that many rows from `lo`; `hi` when the range has fewer.
    pub async fn chunk_end(&self, task: &TableTask, bounds: &Bounds, rows: u64) -> Result<Bounds, ExecError> {
        let next = self.sides(task).key_after(bounds.lo.as_ref(), bounds.hi.as_ref(), rows, Counted::All).await?;
        Ok(Bounds { lo: bounds.lo.clone(), hi: next.or_else(|| bounds.hi.clone()) })
    }

    /// Compares one range or some keys of a table with an ordered key.
    pub async fn visit(&self, task: &TableTask, place: &Place) -> Result<Visit, ExecError> {
        let selection = match place {
            Place::Range(bounds) => Selection::Range { lo: bounds.lo.clone(), hi: bounds.hi.clone() },
            Place::Keys(keys) => {
                Selection::Keys(keys.iter().map(|key| task.key_literals(key)).collect::<Result<_, _>>()?)
            }
            Place::LeftOut(key) => Selection::Keys(vec![task.key_literals(key)?]),
        };
        let (snapshot, (visit, unseen)) = if let Some(moment) = &self.moment {
            self.run.stop_check()?;
            (moment.snapshot.clone(), self.visit_at(moment, task, (place, &selection)).await?)
        } else {
            let (snapshot, lsn) = snapshots::begin(&self.source, task).await?;
            let result = self.visit_under(task, place, &selection, &snapshot, lsn).await;
            self.release().await?;
            (snapshot, result?)
        };
        if matches!(visit, Visit::Clean(_)) {
            match place {
                Place::Range(bounds) => {
                    let key = |texts: &Option<KeyTexts>| texts.as_ref().map(|texts| task.parse_key(texts)).transpose();
                    let (lo, hi) = (key(&bounds.lo)?, key(&bounds.hi)?);
                    self.touched.forget_seen(task.index, lo.as_ref(), hi.as_ref(), &snapshot);
                }
                Place::Keys(keys) => {
                    let compared: Vec<Key> = keys.iter().filter(|key| !unseen.contains(*key)).cloned().collect();
                    self.touched.forget_keys(task.index, &compared, &snapshot);
                }
                Place::LeftOut(_) => {}
            }
        }
        Ok(visit)
    }

    async fn visit_under(
        &self,
        task: &TableTask,
        place: &Place,
        selection: &Selection,
        snapshot: &Snapshot,
        lsn: Lsn,
    ) -> Result<(Visit, BTreeSet<Key>), ExecError> {
        copy::check_shape(&self.source, task).await?;
        let sides = self.sides(task);
        let again = |why: Why| Ok((Visit::Again(why), BTreeSet::new()));
        // The stream gets there while the source adds up.
        self.shared.want(lsn);
        let source = sides.sum(Side::Source, selection, &[]).await?;
        if !self.caught_up(lsn).await? {
            return again(Why::Late(lsn));
        }
        self.begin_target(lsn, &lock_target(&[task])).await?;
        let target = sides.sum(Side::Target, selection, &[]).await?;
        // After the target's snapshot: every key in it was remembered before it was written.
        let unseen = match place {
            Place::Range(bounds) => {
                let key = |texts: &Option<KeyTexts>| texts.as_ref().map(|texts| task.parse_key(texts)).transpose();
                let (lo, hi) = (key(&bounds.lo)?, key(&bounds.hi)?);
                self.touched.unseen(task.index, lo.as_ref(), hi.as_ref(), snapshot)
            }
            Place::Keys(keys) => {
                let keys: BTreeSet<&Key> = keys.iter().collect();
                let unseen = self.touched.unseen(task.index, None, None, snapshot);
                unseen.map(|unseen| unseen.into_iter().filter(|key| keys.contains(key)).collect())
            }
            Place::LeftOut(own) => {
                let unseen = self.touched.unseen(task.index, None, None, snapshot);
                if unseen.as_ref().is_none_or(|unseen| unseen.contains(own)) {
                    return again(Why::Hot);
                }
                unseen.map(|_| Vec::new())
            }
        };
        let unseen: BTreeSet<Key> = match unseen {
            Some(unseen) if unseen.len() <= EXCEPT_MAX => unseen.into_iter().collect(),
            _ => return again(Why::Hot),
        };
        let visit = self.judge(task, (place, selection), (snapshot, &unseen), Sums { source, target }).await?;
        Ok((visit, unseen))
    }

    /// Compares one range or some keys as of the moment.
    async fn visit_at(
        &self,
        moment: &Moment,
        task: &TableTask,
        (place, selection): (&Place, &Selection),
    ) -> Result<(Visit, BTreeSet<Key>), ExecError> {
        let Some(unseen) = moment.unseen(task.index) else { return Ok((Visit::Again(Why::Hot), BTreeSet::new())) };
        let is_within = |key: &&Key| -> Result<bool, ExecError> {
            Ok(match place {
                Place::Range(Bounds { lo, hi }) => {
                    let bound =
                        |texts: &Option<KeyTexts>| texts.as_ref().map(|texts| task.parse_key(texts)).transpose();
                    bound(lo)?.is_none_or(|lo| **key >= lo) && bound(hi)?.is_none_or(|hi| **key < hi)
                }
                Place::Keys(keys) => keys.contains(key),
                Place::LeftOut(own) => own == *key,
            })
        };
        let mut within = BTreeSet::new();
        for key in unseen {
            if is_within(&key)? {
                within.insert(key.clone());
            }
        }
        let sums = self.sides(task).sums(selection, &[]).await?;
        let visit = self.judge(task, (place, selection), (&moment.snapshot, &within), sums).await?;
        Ok((visit, within))
    }

    /// What the digests of a selection say, both ends being in transactions that have their snapshots.
    async fn judge(
        &self,
        task: &TableTask,
        (place, selection): (&Place, &Selection),
        (snapshot, unseen): (&Snapshot, &BTreeSet<Key>),
        Sums { source, target }: Sums,
    ) -> Result<Visit, ExecError> {
        let sides = self.sides(task);
        let mut clean = Clean { rows_source: source.rows, rows_target: target.rows, rows_compared: source.rows };
        let is_aside = !matches!(place, Place::LeftOut(_));
        let aside = self.left_out.stale(task.index).map(|(key, _)| key).filter(|_| is_aside);
        let except = unseen.iter().chain(aside).map(|key| task.key_literals(key)).collect::<Result<Vec<_>, _>>()?;
        let equal = if except.is_empty() {
            source == target
        } else {
            let sums = sides.sums(selection, &except).await?;
            clean.rows_compared = sums.source.rows;
            sums.equal()
        };
        if equal {
            return Ok(Visit::Clean(clean));
        }
        if let Some(xid) = self.inherited_unseen(snapshot) {
            return Ok(Visit::Again(Why::Inherited(xid)));
        }
        partitions::read_what_was_looked_at(&self.source, task).await?;
        let found = ranges::locate(&sides, selection, &except).await?;
        if found.differences.is_empty() {
            return Err(ExecError::Step {
                step: format!("verify_table:{}", task.name),
                reason: "two snapshots at rest gave different digests".to_owned(),
            });
        }
        Ok(Visit::Different(clean, found))
    }

    /// Compares a table without an order, if nothing is written to it meanwhile.
    pub async fn visit_whole(&self, task: &TableTask) -> Result<Visit, ExecError> {
        let (snapshot, visit) = if let Some(moment) = &self.moment {
            (moment.snapshot.clone(), self.whole_at(moment, task).await?)
        } else {
            let (snapshot, lsn) = snapshots::begin(&self.source, task).await?;
            let result = self.whole_under(task, &snapshot, lsn).await;
            self.release().await?;
            (snapshot, result?)
        };
        if matches!(visit, Visit::Clean(_)) {
            self.touched.forget_all_mark(task.index, &snapshot);
        }
        Ok(visit)
    }

    async fn whole_under(&self, task: &TableTask, snapshot: &Snapshot, lsn: Lsn) -> Result<Visit, ExecError> {
        copy::check_shape(&self.source, task).await?;
        let sides = self.sides(task);
        self.shared.want(lsn);
        let source = whole::buckets(&sides, Side::Source).await?;
        if !self.caught_up(lsn).await? {
            return Ok(Visit::Again(Why::Late(lsn)));
        }
        self.begin_target(lsn, &lock_target(&[task])).await?;
        let target = whole::buckets(&sides, Side::Target).await?;
        if self.touched.unseen(task.index, None, None, snapshot).is_none_or(|keys| !keys.is_empty()) {
            return Ok(Visit::Again(Why::Hot));
        }
        if source != target
            && let Some(xid) = self.inherited_unseen(snapshot)
        {
            return Ok(Visit::Again(Why::Inherited(xid)));
        }
        if source != target {
            partitions::read_what_was_looked_at(&self.source, task).await?;
        }
        judge_whole(&sides, &source, &target).await
    }

    async fn whole_at(&self, moment: &Moment, task: &TableTask) -> Result<Visit, ExecError> {
        self.run.stop_check()?;
        if moment.unseen(task.index).is_none_or(|keys| !keys.is_empty()) {
            return Ok(Visit::Again(Why::Hot));
        }
        let sides = self.sides(task);
        let (source, target) =
            tokio::try_join!(whole::buckets(&sides, Side::Source), whole::buckets(&sides, Side::Target))?;
        if source != target {
            partitions::read_what_was_looked_at(&self.source, task).await?;
        }
        judge_whole(&sides, &source, &target).await
    }

    /// Waits for the stream; false when it takes too long to hold a source transaction open.
    pub(super) async fn caught_up(&self, lsn: Lsn) -> Result<bool, ExecError> {
        let began = Instant::now();
        self.shared.want(lsn);
        while self.shared.applied() < lsn {
            self.run.stop_check()?;
            if began.elapsed() > APPLY_PATIENCE {
                return Ok(false);
            }
            self.shared.applied_changed(Duration::from_millis(50)).await;
        }
        Ok(true)
    }

    /// The target's transaction; its snapshot is taken behind `lock`, with the position that the ledger has in it.
    pub(super) async fn begin_target(&self, lsn: Lsn, lock: &str) -> Result<(), ExecError> {
        self.target
            .batch_execute(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {lock}"))
            .await
            .map_err(ExecError::target("begin a comparison"))?;
        let row = self
            .target
            .query_one("SELECT applied_lsn::text FROM pcrd.progress WHERE migration = $1", &[&self.run.id])
            .await
            .map_err(ExecError::target("read the applied position"))?;
        let applied =
            row.get::<_, String>(0).parse::<Lsn>().map_err(|error| ExecError::Gap { reason: error.to_string() })?;
        if applied < lsn {
            return Err(ExecError::Gap {
                reason: format!("{lsn} was said to be applied, but the ledger has {applied}; is this a standby?"),
            });
        }
        Ok(())
    }

    async fn release(&self) -> Result<(), ExecError> {
        // ROLLBACK also where no transaction is open: only a warning.
        self.source.batch_execute("ROLLBACK").await.map_err(ExecError::source("end a comparison"))?;
        self.target.batch_execute("ROLLBACK").await.map_err(ExecError::target("end a comparison"))
    }

    /// A transaction that an earlier process may have applied and that the snapshot does not see yet.
    pub(super) fn inherited_unseen(&self, snapshot: &Snapshot) -> Option<FullXid> {
        if let Some(xid) = snapshot.in_progress.iter().find(|xid| **xid <= self.inherited) {
            return Some(*xid);
        }
        (snapshot.xmax <= self.inherited).then_some(self.inherited)
    }
}

/// Before a snapshot of the target: of a table that is rewritten behind it, it would show no row.
pub(super) fn lock_target(tables: &[&TableTask]) -> String {
    let names: Vec<String> = tables.iter().map(|task| sql::name(&task.projection.target)).collect();
    if names.is_empty() { String::new() } else { format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", ")) }
}

async fn judge_whole(sides: &Sides<'_>, source: &Buckets, target: &Buckets) -> Result<Visit, ExecError> {
    let compared = whole::judge(sides, source, target).await?;
    let Compared { rows_source, rows_target, differences } = compared;
    let clean = Clean { rows_source, rows_target, rows_compared: rows_source };
    Ok(match differences {
        differences if differences.is_empty() => Visit::Clean(clean),
        differences => Visit::Different(clean, Found { differences, wrong: Vec::new() }),
    })
}
