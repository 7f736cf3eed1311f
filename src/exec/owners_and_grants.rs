//! Owners, grants, policies and triggers of the target, given behind the permanent fence and before a client is moved: nothing is
//! applied any more then, whose code could run with the executor's rights, and nobody else could write before. What cannot
//! be given keeps nothing closed: it is recorded, and said with the statement that does it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use super::context::Run;
use super::create_right::with_create;
use super::is_done::{Found, is_done, is_so, locked_tables, on};
use super::shared::Shared;
use super::table_parts::parts;
use super::table_policies;
use super::vacuum_away::vacuum_away;
use super::{ExecError, failpoint, functions, lock_holders};
use crate::catalog::{ColumnRef, GrantTarget, Holdings, Ident, QualifiedName};
use crate::ledger::cutover::{self as state, CutoverState};
use crate::ledger::given::{self, Before, NotGiven};
use crate::pg::client::Client;
use crate::plan::given_back::given_back;
use crate::plan::policies;
use crate::plan::rights::{self, Lost};
use crate::plan::triggers::{self, removed};
use crate::plan::{End, Grant, Op, Plan, Step, StepId, statements};
use crate::sql;

/// For a lock that a reader of the target has. Both ends are closed meanwhile.
const LOCK_WAIT: Duration = Duration::from_millis(200);
/// For all of them; then what is not to be had at once is left.
const ALL_WAITS: Duration = Duration::from_secs(2);
/// For a group that is applied. One that takes longer meets a lock, or the tries' end.
const APPLY_PATIENCE: Duration = Duration::from_secs(10);
/// Before the fence, nobody waits but the stream.
const TRIES: u32 = 10;

/// A function comes as it is on the source, whatever its body is about.
pub(super) const UNREAD: &str = "SET LOCAL check_function_bodies = off";

/// What a GRANT was that brought nothing.
pub(super) const WITHOUT_EFFECT: &str = "the role that applies the plan may not, and the server has granted nothing";

/// What is not given without its table's policies.
const UNHIDDEN: &str = "its table's policies and row security are not all there, which come first: the role would see more than on the source";

/// What is to be given.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub(super) pieces: Vec<Piece>,
    pub(super) gone: Vec<Gone>,
}

/// A step, or what the source still has of it.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    step: StepId,
    op: Op,
    sql: String,
    /// The table whose rows somebody sees then.
    shows: Option<QualifiedName>,
}

/// What the plan gives and the source does not have any more.
#[derive(Debug, Clone)]
pub(super) struct Gone {
    piece: Piece,
    what: String,
    /// It may have been taken away to stop writers, and the clients need it on the target.
    is_late: bool,
}

/// What is known of the source from before.
#[derive(Debug, Clone, Copy)]
pub enum Earlier<'w> {
    /// The operator's programs have not run yet.
    Nothing,
    /// This was found before they ran.
    Look(&'w Wanted),
    /// An executor that died had looked.
    Lost,
}

impl Piece {
    pub(super) fn of(run: &Run, step: &StepId, op: Op) -> Result<Self, ExecError> {
        let list = statements::statements(&op, &run.plan)
            .map_err(|error| ExecError::Step { step: step.to_string(), reason: error.to_string() })?;
        let sql = list.into_iter().map(|statement| statement.sql).collect::<Vec<_>>().join("; ");
        let shows = policies::shows(&run.plan, &op).cloned();
        Ok(Self { step: step.clone(), op, sql, shows })
    }
}

fn gone(step: &str, what: &str) -> String {
    format!(
        "{step}: the source has changed since the plan was made, where {what} now; the target gives no more than that"
    )
}

/// Why a right is not given that somebody lost during the cutover.
fn late(what: &str) -> String {
    format!("{what} on the source since the cutover began. Unless that is meant to stay so, it is to be given by hand")
}

/// Reads from the source what of the plan's owners and grants it still has, and says what it has not, but for what was said
/// before. What went away since the operator's programs may have run becomes an alarm: they may stop writers that way.
pub async fn wanted(run: &Run, source: &Client, earlier: Earlier<'_>) -> Result<Wanted, ExecError> {
    let steps = || run.plan.steps.iter().filter(|step| step.op.gives());
    let origins: BTreeSet<GrantTarget> = steps().flat_map(|step| rights::origins(&run.plan, &on(&step.op))).collect();
    if origins.is_empty() {
        return Ok(Wanted::default());
    }
    let doing = || ExecError::source("read owners, grants, policies and triggers");
    let there = Found::read(source, &origins, steps().map(|step| &step.op)).await.map_err(doing())?;
    let securities = table_policies::read(source, run.plan.sources()).await.map_err(doing())?;
    let mut wanted = Wanted::default();
    for step in steps() {
        let shown = policies::shows(&run.plan, &step.op).or(policies::hides(&step.op));
        let changed = shown.and_then(|table| policies::changed(&run.plan, table, &securities));
        if let (Some(table), Earlier::Nothing) = (changed, earlier) {
            let reason = format!(
                "the policies or the row security of {table} on the source are not those of the plan: plan anew"
            );
            return Err(ExecError::CutoverAborted { reason });
        }
        let still = match &step.op {
            op if changed.is_some() && policies::hides(op).is_none() => policies::withheld(op),
            op @ (Op::CreatePolicy(_) | Op::SetRowSecurity(_)) => policies::still(&run.plan, op, &securities),
            Op::CreateFunction(op) => triggers::still_function(op, &there.functions),
            Op::CreateTrigger(op) => triggers::still(&run.plan, op, &there.triggers),
            op => rights::still(&run.plan, op, &there.holdings),
        };
        for Lost { op, what } in still.gone {
            let is_known = |one: &Gone| one.piece.step == step.id && one.what == what;
            let is_late = match earlier {
                Earlier::Nothing => false,
                Earlier::Look(before) => !before.gone.iter().any(is_known),
                Earlier::Lost => true,
            };
            if matches!(earlier, Earlier::Nothing) {
                run.note(gone(&step.id.0, &what));
            }
            wanted.gone.push(Gone { piece: Piece::of(run, &step.id, op)?, what, is_late });
        }
        if let Some(op) = still.op {
            wanted.pieces.push(Piece::of(run, &step.id, op)?);
        }
    }
    Ok(wanted)
}

/// Does all of it in a transaction that is rolled back, before the fence: what would fail behind it ends the cutover here.
///
/// # Errors
/// [`ExecError::CutoverAborted`] with the step and what the server says.
pub async fn try_out(run: &Run, shared: &Shared, wanted: &Wanted) -> Result<(), ExecError> {
    if wanted.pieces.is_empty() {
        return Ok(());
    }
    let doing = || ExecError::target("try out owners and grants");
    // Its end rolls back what is broken off.
    let client = &run.connect(End::Target, "rights").await?;
    for attempt in 1..=TRIES {
        run.stop_check()?;
        // Tables are locked one after another, and a group that is applied may have them in another order.
        let between = tokio::time::timeout(APPLY_PATIENCE, shared.between.lock()).await;
        client.batch_execute("BEGIN").await.map_err(doing())?;
        let given = give(client, wanted, true).await;
        client.batch_execute("ROLLBACK").await.map_err(doing())?;
        drop(between);
        let troubles = given.map_err(doing())?.troubles;
        let Some(first) = troubles.first() else { return Ok(()) };
        let refused = troubles.iter().find(|one| !one.is_lock);
        if refused.is_none() && attempt < TRIES {
            run.waiting(format!("{} waits for a lock on the target", first.step));
            // Long enough for what is applied to go on between.
            run.sleep(LOCK_WAIT * 5).await?;
            continue;
        }
        let Trouble { step, reason, .. } = refused.unwrap_or(first);
        let holders = match refused {
            Some(_) => String::new(),
            None => format!(": {}", lock_holders::of_targets(&run.plan, client).await?),
        };
        return Err(ExecError::CutoverAborted {
            reason: format!("step {step} could not be done behind the fence: {reason}{holders}"),
        });
    }
    Ok(())
}

/// Gives everything, in one transaction with the record of how it was before. Can be repeated.
///
/// # Errors
/// The target is gone, or another executor has taken over; never that something could not be given.
pub async fn give_all(run: &Run, ledger: &Client, wanted: &Wanted) -> Result<(), ExecError> {
    if wanted.pieces.is_empty() && wanted.gone.is_empty() {
        return Ok(());
    }
    failpoint::hit("rights.before-effect")?;
    let doing = || ExecError::target("give owners and grants");
    let began = Instant::now();
    ledger.batch_execute("BEGIN").await.map_err(doing())?;
    match recorded(run, ledger, wanted).await {
        Ok(()) => {}
        Err(error) => {
            // The first error says more than what comes of it.
            let _rolled_back = ledger.batch_execute("ROLLBACK").await;
            return Err(error);
        }
    }
    failpoint::hit("rights.before-commit")?;
    ledger.batch_execute("COMMIT").await.map_err(doing())?;
    failpoint::hit("rights.after-effect")?;
    let ms = began.elapsed().as_millis();
    run.note(format!("owners and grants: {} steps in {ms} ms", wanted.pieces.len()));
    match lines(run, ledger).await {
        Ok(lines) => lines.into_iter().for_each(|line| run.note(line)),
        // Both ends are closed, and status says it too.
        Err(error) => {
            run.note(format!("what could not be given could not be read ({error}): pcrd status lists it"));
        }
    }
    Ok(())
}

async fn recorded(run: &Run, ledger: &Client, wanted: &Wanted) -> Result<(), ExecError> {
    let doing = || ExecError::target("give owners and grants");
    state::hold(ledger, &run.id, run.epoch, CutoverState::SequencesSet).await?;
    let there = parts(&run.plan, ledger).await?;
    let given = give(ledger, wanted, false).await.map_err(doing())?;
    // The limit for the target's tables is too short for the ledger's.
    ledger.batch_execute("SET LOCAL lock_timeout = '2s'").await.map_err(doing())?;
    let made: Vec<QualifiedName> = given.before.functions.keys().cloned().collect();
    let parts_of = |on: &GrantTarget| match on {
        GrantTarget::Table(table) => {
            let name = sql::name(table);
            there.iter().filter(|(of, _)| *of == name).map(|(_, part)| part.clone()).collect()
        }
        GrantTarget::Schema(schema) => {
            made.iter().filter(|function| function.schema == *schema).map(functions::part).collect()
        }
        _ => BTreeSet::new(),
    };
    let before: Vec<Before> = given
        .before
        .holdings
        .into_iter()
        .map(|(object, holding)| Before { parts: parts_of(&object), object, holding })
        .collect();
    given::record(&**ledger, &run.id, &before).await?;
    let known = given::not_given(&**ledger, &run.id).await?;
    let mut missing = Vec::new();
    // What an executor before this one has given is not missing, whatever became of it on the source since.
    for Gone { piece, what, is_late } in wanted.gone.iter().filter(|gone| !is_so(&gone.piece.op, &given.after)) {
        let step = piece.step.to_string();
        let was_before = |one: &NotGiven| one.step == step && one.statement.is_none() && one.reason == *what;
        let (statement, reason) = match *is_late && !known.iter().any(was_before) {
            true => (Some(piece.sql.clone()), late(what)),
            false => (None, what.clone()),
        };
        missing.push(NotGiven { step, statement, reason });
    }
    for Trouble { step, sql, reason, .. } in given.troubles {
        missing.push(NotGiven { step: step.to_string(), statement: Some(sql), reason });
    }
    Ok(given::set_not_given(&**ledger, &run.id, &missing).await?)
}

/// A step that could not be done.
struct Trouble {
    step: StepId,
    sql: String,
    reason: String,
    is_lock: bool,
}

struct Given {
    before: Found,
    /// Not of a rehearsal that met a lock.
    after: Found,
    troubles: Vec<Trouble>,
}

/// Does, in the transaction that is open, what is not so yet: at once, or one by one where the server refuses that.
async fn give(client: &Client, wanted: &Wanted, is_rehearsal: bool) -> Result<Given, tokio_postgres::Error> {
    let pieces = &wanted.pieces;
    let all = pieces.iter().chain(wanted.gone.iter().map(|gone| &gone.piece));
    let mut objects: BTreeSet<GrantTarget> = all.clone().map(|piece| on(&piece.op)).collect();
    // The columns of a table that gets an owner are the owner's too.
    let tables: Vec<GrantTarget> = objects
        .iter()
        .filter_map(|on| match on {
            GrantTarget::Column(ColumnRef { table, .. }) => Some(GrantTarget::Table(table.clone())),
            _ => None,
        })
        .collect();
    objects.extend(tables);
    let before = Found::read(client, &objects, all.clone().map(|piece| &piece.op)).await?;
    let open: Vec<&Piece> = pieces.iter().filter(|piece| !is_so(&piece.op, &before)).collect();
    let tables: Vec<String> = open.iter().flat_map(|piece| locked_tables(&piece.op)).collect();
    let wait = vacuum_away(client, &tables).await?.unwrap_or(LOCK_WAIT);
    let limit = format!("SET LOCAL lock_timeout = {}; {UNREAD}; SAVEPOINT given", wait.as_millis());
    client.batch_execute(&limit).await?;
    let mut troubles = match at_once(client, &open).await {
        Ok(()) => Vec::new(),
        Err(error) if error.as_db_error().is_some() => {
            client.batch_execute("ROLLBACK TO SAVEPOINT given").await?;
            one_by_one(client, &open, (wait, is_rehearsal)).await?
        }
        Err(error) => return Err(error),
    };
    if is_rehearsal && troubles.iter().any(|one| one.is_lock) {
        return Ok(Given { before, after: Found::default(), troubles });
    }
    // GRANT by a role that may not is a warning, and nothing more.
    let after = Found::read(client, &objects, all.map(|piece| &piece.op)).await?;
    let may_be_silent = |piece: &&Piece| matches!(piece.op, Op::SetOwner(_) | Op::Grant(_));
    for piece in pieces.iter().filter(may_be_silent).filter(|piece| !is_so(&piece.op, &after)) {
        if troubles.iter().all(|trouble| trouble.step != piece.step) {
            let (step, sql, reason) = (piece.step.clone(), piece.sql.clone(), WITHOUT_EFFECT.to_owned());
            troubles.push(Trouble { step, sql, reason, is_lock: false });
        }
    }
    Ok(Given { before, after, troubles })
}

async fn at_once(client: &Client, open: &[&Piece]) -> Result<(), tokio_postgres::Error> {
    let is_schema = |piece: &&Piece| matches!(on(&piece.op), GrantTarget::Schema(_));
    // Who may create in a schema is settled before something in it gets an owner.
    for is_first in [true, false] {
        let these = open.iter().copied().filter(|piece| is_schema(piece) == is_first);
        let text = with_create(client, these.map(|piece| (&piece.op, piece.sql.as_str()))).await?;
        client.batch_execute(&text).await?;
    }
    Ok(())
}

async fn one_by_one(
    client: &Client,
    open: &[&Piece],
    (wait, is_rehearsal): (Duration, bool),
) -> Result<Vec<Trouble>, tokio_postgres::Error> {
    let until = Instant::now() + ALL_WAITS;
    let (mut troubles, mut unhidden) = (Vec::new(), BTreeSet::new());
    for piece in open {
        if piece.shows.as_ref().is_some_and(|table| unhidden.contains(table)) {
            let (step, sql, reason) = (piece.step.clone(), piece.sql.clone(), UNHIDDEN.to_owned());
            troubles.push(Trouble { step, sql, reason, is_lock: false });
            continue;
        }
        let wait = wait.min(until.saturating_duration_since(Instant::now())).max(Duration::from_millis(1));
        let sql = with_create(client, [(&piece.op, piece.sql.as_str())].into_iter()).await?;
        let text = format!("SET LOCAL lock_timeout = {}; SAVEPOINT given; {sql}; RELEASE given", wait.as_millis());
        let Err(error) = client.batch_execute(&text).await else { continue };
        let Some(said) = error.as_db_error() else { return Err(error) };
        unhidden.extend(policies::hides(&piece.op));
        troubles.push(Trouble {
            step: piece.step.clone(),
            sql: piece.sql.clone(),
            reason: format!("{} (SQLSTATE {})", said.message(), said.code().code()),
            is_lock: *said.code() == SqlState::LOCK_NOT_AVAILABLE,
        });
        client.batch_execute("ROLLBACK TO SAVEPOINT given").await?;
        // The stream waits for the tables that are locked already.
        if is_rehearsal && troubles.last().is_some_and(|last| last.is_lock) {
            break;
        }
    }
    Ok(troubles)
}

/// Runs a step in the transaction of a rehearsal. False when the server took the statements and they did nothing.
pub(super) async fn rehearse(client: &Client, step: &Step) -> Result<bool, tokio_postgres::Error> {
    if is_done(client, &step.op).await? {
        return Ok(true);
    }
    let statements = step.statements.iter().map(|statement| (&step.op, statement.sql.as_str()));
    client.batch_execute(&with_create(client, statements).await?).await?;
    let may_be_silent = matches!(step.op, Op::SetOwner(_) | Op::Grant(_));
    Ok(!may_be_silent || is_done(client, &step.op).await?)
}

/// True when rights were given that nobody has taken back, or nobody has looked since what is left of them.
pub async fn is_given(run: &Run, ledger: &Client) -> Result<bool, ExecError> {
    Ok(!given::all(&**ledger, &run.id).await?.is_empty())
}

/// Takes back whatever anybody got since rights were given, for a cutover that is given up behind its permanent fence. Can
/// be repeated; without such rights it does nothing.
pub async fn take_back(run: &Run, ledger: &Client) -> Result<(), ExecError> {
    let recorded = given::all(&**ledger, &run.id).await?;
    if recorded.is_empty() || state::read(ledger, &run.id).await?.state == CutoverState::Switched {
        return Ok(());
    }
    let doing = || ExecError::target("take back owners and grants");
    let objects: BTreeSet<GrantTarget> = recorded.iter().map(|one| one.object.clone()).collect();
    let had = |table: &QualifiedName, part: &str| {
        let of_table = recorded.iter().filter(|one| one.object == GrantTarget::Table(table.clone()));
        of_table.flat_map(|one| &one.parts).any(|one| one.starts_with(part))
    };
    let had_trigger = |table: &QualifiedName, name: &Ident| had(table, &format!("trigger {} (", name.as_str()));
    let had_policy = |table: &QualifiedName, name: &Ident| had(table, &format!("policy {} (", name.as_str()));
    let was_set = |table: &QualifiedName| {
        let is_forced = ["t", "f"].iter().any(|on| had(table, &format!("row security (on: {on}, forced: t)")));
        (had(table, "row security (on: t"), is_forced)
    };
    let before: Holdings = recorded.iter().map(|one| (one.object.clone(), one.holding.clone())).collect();
    ledger.batch_execute("BEGIN; SET LOCAL lock_timeout = '10s'").await.map_err(doing())?;
    let taken = async {
        let now = Found::read(ledger, &objects, run.plan.steps.iter().map(|step| &step.op)).await?;
        let mut statements = removed(&run.plan, &now.triggers, had_trigger);
        statements.extend(policies::removed(&run.plan, &now.securities, had_policy, was_set));
        statements.extend(given_back(&run.plan, &before, &now.holdings));
        ledger.batch_execute(&statements.join("; ")).await?;
        Ok::<usize, tokio_postgres::Error>(statements.len())
    };
    match taken.await.map_err(doing()) {
        Ok(count) => {
            ledger.batch_execute("COMMIT").await.map_err(doing())?;
            if count > 0 {
                run.note("what the switch had given on the target was taken back: owners, grants, policies, triggers");
            }
        }
        Err(error) => {
            // The first error says more than what comes of it.
            let _rolled_back = ledger.batch_execute("ROLLBACK").await;
            return Err(error);
        }
    }
    functions::drop_made(run, ledger, &recorded).await
}

/// After rights were taken back: nothing of those who had them is left on the tables, where it would run with the
/// executor's rights. Then it is as if they had never been given.
///
/// # Errors
/// [`ExecError::Step`] with what is there.
pub async fn nothing_left(run: &Run, ledger: &Client) -> Result<(), ExecError> {
    let recorded = given::all(&**ledger, &run.id).await?;
    if !recorded.is_empty() {
        let now = parts(&run.plan, ledger).await?;
        for one in &recorded {
            let GrantTarget::Table(table) = &one.object else { continue };
            let name = sql::name(table);
            let now: BTreeSet<String> =
                now.iter().filter(|(of, _)| *of == name).map(|(_, part)| part.clone()).collect();
            let other: Vec<&str> = now.symmetric_difference(&one.parts).map(String::as_str).collect();
            if !other.is_empty() {
                return Err(ExecError::Step {
                    step: "giving up the cutover".to_owned(),
                    reason: format!(
                        "while others had rights on {table} of the target, this was changed: {}. The source is open. Make it as it \
                         was, for rows are applied with more rights than others have, and pcrd apply goes on; what was made anew \
                         under its old name is another thing, and pcrd abort gives the migration up",
                        other.join(", ")
                    ),
                });
            }
        }
    }
    Ok(given::forget(ledger, &run.id).await?)
}

/// What was not given, in words, each with the statement that does it.
pub async fn lines(run: &Run, ledger: &Client) -> Result<Vec<String>, ExecError> {
    lines_of(ledger, &run.id, Some(&run.plan)).await
}

/// The same of a migration that nobody runs. What the target has by now is told as missing only where the plan is not known.
pub async fn lines_of(ledger: &Client, id: &str, plan: Option<&Plan>) -> Result<Vec<String>, ExecError> {
    let mut found = Vec::new();
    for NotGiven { step, statement, reason } in given::not_given(&**ledger, id).await? {
        let Some(statement) = statement else {
            found.push(gone(&step, &reason));
            continue;
        };
        if let Some(op) = plan.and_then(|plan| op_of(plan, &step, &statement))
            && is_done(ledger, &op).await.map_err(ExecError::target("look at owners and grants"))?
        {
            continue;
        }
        found.push(format!("ALARM: {step} was not done: {reason}. Run on the target: {statement}"));
    }
    Ok(found)
}

/// What a statement does: the step, or one right of it.
fn op_of(plan: &Plan, step: &str, statement: &str) -> Option<Op> {
    let op = &plan.steps.iter().find(|one| one.id.0 == step)?.op;
    let Op::Grant(grant) = op else { return Some(op.clone()) };
    let does = |one: &Grant| {
        let option = one.rights.is_empty();
        let list = if option { &one.grantable } else { &one.rights };
        sql::rights::grant(&one.on, one.to.as_ref(), list, option) == statement
    };
    let single = rights::singly(grant).into_iter().find(does);
    Some(single.map_or_else(|| op.clone(), Op::Grant))
}
