//! Writing the journal: intent before effect.

use std::fs::File;
use std::ops::Deref;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::plan::{PlanId, StepId};

use super::error::JournalError;
use super::status::StepStatus;
use super::view::JournalView;

/// The journal, held by one process. Reads as a [`JournalView`]. Every write is durable when the call returns.
#[derive(Debug)]
pub struct Journal {
    view: JournalView,
    /// Held, not read: its lock lasts as long as the journal.
    _lock: File,
}

impl Deref for Journal {
    type Target = JournalView;

    fn deref(&self) -> &JournalView {
        &self.view
    }
}

impl Journal {
    pub(super) fn new(connection: Connection, lock: File) -> Self {
        Self { view: JournalView::new(connection), _lock: lock }
    }

    /// Records a plan and its steps, all pending. A plan that is known already keeps its steps as they are.
    ///
    /// # Errors
    /// The id is known with another body.
    pub fn record_plan(&mut self, plan: &PlanId, body: &str, steps: &[StepId]) -> Result<(), JournalError> {
        let transaction = self.view.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction
            .execute("INSERT INTO plan (id, body) VALUES (?1, ?2) ON CONFLICT DO NOTHING", params![plan.0, body])?;
        let known: String =
            transaction.query_row("SELECT body FROM plan WHERE id = ?1", [&plan.0], |row| row.get(0))?;
        if known != body {
            return Err(JournalError::OtherPlan(plan.0.clone()));
        }
        for (ordinal, step) in (0i64..).zip(steps) {
            transaction.execute(
                "INSERT INTO step (plan, id, ordinal, status) VALUES (?1, ?2, ?3, 'pending') ON CONFLICT DO NOTHING",
                params![plan.0, step.0, ordinal],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// The step is about to act. `at_ms` is milliseconds since the Unix epoch, here and below.
    pub fn step_started(&mut self, plan: &PlanId, step: &StepId, at_ms: u64) -> Result<(), JournalError> {
        self.move_step(plan, step, StepStatus::Started, at_ms, None)
    }

    /// The step's effect is durable.
    pub fn step_succeeded(&mut self, plan: &PlanId, step: &StepId, at_ms: u64) -> Result<(), JournalError> {
        self.move_step(plan, step, StepStatus::Succeeded, at_ms, None)
    }

    /// The step ended with an error. `message` must not hold row values.
    pub fn step_failed(&mut self, plan: &PlanId, step: &StepId, at_ms: u64, message: &str) -> Result<(), JournalError> {
        self.move_step(plan, step, StepStatus::Failed, at_ms, Some(message))
    }

    /// What the database shows of a step wins over what the journal says, so no move is illegal here: a step in doubt,
    /// or a journal that is older or newer than the target.
    pub fn step_found(
        &mut self,
        plan: &PlanId,
        step: &StepId,
        status: StepStatus,
        at_ms: u64,
    ) -> Result<(), JournalError> {
        self.set_status(plan, step, status, at_ms, None)
    }

    /// Keeps an event, as JSON, for `status` and for the record. Not for every progress event.
    pub fn record_event(
        &mut self,
        plan: &PlanId,
        at_ms: u64,
        step: Option<&StepId>,
        body: &str,
    ) -> Result<(), JournalError> {
        self.view.connection.execute(
            "INSERT INTO event (plan, at_ms, step, body) VALUES (?1, ?2, ?3, ?4)",
            params![plan.0, at_ms, step.map(|step| &step.0), body],
        )?;
        Ok(())
    }

    /// Sets a setting.
    pub fn set_setting(&mut self, name: &str, value: &str) -> Result<(), JournalError> {
        self.view.connection.execute(
            "INSERT INTO setting (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [name, value],
        )?;
        Ok(())
    }

    fn move_step(
        &mut self,
        plan: &PlanId,
        step: &StepId,
        to: StepStatus,
        at_ms: u64,
        message: Option<&str>,
    ) -> Result<(), JournalError> {
        let recorded: Option<StepStatus> = self
            .view
            .connection
            .query_row("SELECT status FROM step WHERE plan = ?1 AND id = ?2", params![plan.0, step.0], |row| row.get(0))
            .optional()?;
        let from = recorded.ok_or_else(|| JournalError::UnknownStep(step.clone()))?;
        from.check_move(to).map_err(|source| JournalError::Transition { step: step.clone(), source })?;
        self.set_status(plan, step, to, at_ms, message)
    }

    fn set_status(
        &mut self,
        plan: &PlanId,
        step: &StepId,
        to: StepStatus,
        at_ms: u64,
        message: Option<&str>,
    ) -> Result<(), JournalError> {
        let n_rows = self.view.connection.execute(
            "UPDATE step SET status = ?3, message = ?5,
                 started_at = CASE ?3 WHEN 'pending' THEN NULL WHEN 'started' THEN ?4 ELSE started_at END,
                 ended_at = CASE WHEN ?3 IN ('pending', 'started') THEN NULL ELSE ?4 END
             WHERE plan = ?1 AND id = ?2",
            params![plan.0, step.0, to.as_str(), at_ms, message],
        )?;
        if n_rows == 0 { Err(JournalError::UnknownStep(step.clone())) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::catalog::Fingerprint;

    fn plan() -> PlanId {
        Fingerprint::of_bytes(b"plan")
    }

    fn step(name: &str) -> StepId {
        StepId(name.to_owned())
    }

    fn filled(path: &Path) -> Journal {
        let mut journal = Journal::open(path).unwrap();
        journal.record_plan(&plan(), "{}", &[step("b"), step("a")]).unwrap();
        journal.step_started(&plan(), &step("b"), 10).unwrap();
        journal.step_succeeded(&plan(), &step("b"), 20).unwrap();
        for n in 0..200 {
            journal.record_event(&plan(), n, None, &format!("{{\"n\":{n},\"pad\":\"{:0100}\"}}", 0)).unwrap();
        }
        journal
    }

    fn statuses(journal: &JournalView) -> Vec<(String, StepStatus)> {
        journal.steps(&plan()).unwrap().into_iter().map(|row| (row.id.0, row.status)).collect()
    }

    #[test]
    fn survives_reopening_and_keeps_plan_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.sqlite3");
        drop(filled(&path));
        let mut journal = Journal::open(&path).unwrap();
        assert_eq!(statuses(&journal), [("b".into(), StepStatus::Succeeded), ("a".into(), StepStatus::Pending)]);
        assert_eq!(journal.steps(&plan()).unwrap()[0].started_at, Some(10));
        assert_eq!(journal.events(&plan(), 2).unwrap().len(), 2);
        // Recording the same plan again keeps what happened.
        journal.record_plan(&plan(), "{}", &[step("b"), step("a")]).unwrap();
        assert_eq!(statuses(&journal)[0].1, StepStatus::Succeeded);
        assert!(matches!(journal.record_plan(&plan(), "{ }", &[]), Err(JournalError::OtherPlan(_))));
    }

    #[test]
    fn refuses_illegal_moves_but_not_what_the_database_shows() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = filled(&dir.path().join("s"));
        let error = journal.step_started(&plan(), &step("b"), 30).unwrap_err();
        assert_eq!(error.to_string(), "step `b`: a step cannot go from succeeded to started");
        assert!(matches!(journal.step_succeeded(&plan(), &step("a"), 1), Err(JournalError::Transition { .. })));
        assert!(matches!(journal.step_started(&plan(), &step("x"), 1), Err(JournalError::UnknownStep(_))));
        journal.step_started(&plan(), &step("a"), 1).unwrap();
        journal.step_failed(&plan(), &step("a"), 2, "lost").unwrap();
        assert_eq!(journal.steps(&plan()).unwrap()[1].message.as_deref(), Some("lost"));
        journal.step_started(&plan(), &step("a"), 3).unwrap();
        assert_eq!(journal.steps(&plan()).unwrap()[1].ended_at, None);
        journal.step_found(&plan(), &step("b"), StepStatus::Pending, 4).unwrap();
        assert_eq!(statuses(&journal)[0].1, StepStatus::Pending);
    }

    #[test]
    fn one_writer_and_any_number_of_readers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let journal = filled(&path);
        let error = Journal::open(&path).unwrap_err();
        assert!(matches!(error, JournalError::InUse { pid, .. } if pid == Some(std::process::id())), "{error}");
        assert!(matches!(Journal::open_or_rebuild(&path), Err(JournalError::InUse { .. })));
        assert_eq!(statuses(&JournalView::open(&path).unwrap().unwrap()).len(), 2);
        drop(journal);
        Journal::open(&path).unwrap();
        assert!(JournalView::open(&dir.path().join("absent")).unwrap().is_none());
    }

    #[test]
    fn every_damage_is_noticed_and_rebuilt() {
        let dir = tempfile::tempdir().unwrap();
        let sound = dir.path().join("sound");
        drop(filled(&sound));
        let bytes = fs::read(&sound).unwrap();
        let n_pages = bytes.len() / 4096;
        assert!(n_pages > 5, "several pages are needed to damage each of them");

        let mut damaged: Vec<(String, Vec<u8>)> = vec![
            ("garbage".into(), b"not a database".repeat(1000)),
            ("empty".into(), Vec::new()),
            ("half".into(), bytes[..bytes.len() / 2].to_vec()),
            ("cut in a page".into(), bytes[..bytes.len() - 100].to_vec()),
        ];
        for page in 0..n_pages {
            let mut zeroed = bytes.clone();
            zeroed[page * 4096..(page + 1) * 4096].fill(0);
            damaged.push((format!("page {page} zeroed"), zeroed));
        }
        for (n, (what, content)) in damaged.iter().enumerate() {
            let path = dir.path().join(format!("damaged-{n}"));
            fs::write(&path, content).unwrap();
            let refused = Journal::open(&path);
            assert!(matches!(refused, Err(JournalError::Corrupt { .. })), "{what}: {refused:?}");
            assert_eq!(&fs::read(&path).unwrap(), content, "{what}: a refused file is left as it is");
            let (journal, rebuilt) = Journal::open_or_rebuild(&path).unwrap();
            let rebuilt = rebuilt.expect(what);
            assert_eq!(rebuilt.moved_to, dir.path().join(format!("damaged-{n}.corrupt-1")), "{what}");
            assert!(rebuilt.to_string().ends_with("the ledger on the target is the truth"), "{rebuilt}");
            assert_eq!(&fs::read(&rebuilt.moved_to).unwrap(), content, "{what}");
            assert!(journal.plans().unwrap().is_empty());
        }
    }

    #[test]
    fn other_formats_and_other_programs_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let newer = dir.path().join("newer");
        drop(filled(&newer));
        Connection::open(&newer).unwrap().pragma_update(None, "user_version", 2).unwrap();
        let error = Journal::open_or_rebuild(&newer).unwrap_err();
        assert!(error.to_string().ends_with("has format version 2; this pcrd reads version 1"), "{error}");

        let foreign = dir.path().join("foreign");
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE invoices (id int)").unwrap();
        assert!(matches!(Journal::open_or_rebuild(&foreign), Err(JournalError::Foreign { .. })));
        assert!(foreign.exists());

        let original = dir.path().join("original");
        Connection::open(&original)
            .unwrap()
            .execute_batch("CREATE TABLE metadata (key, value); CREATE TABLE batches (id)")
            .unwrap();
        assert!(matches!(Journal::open(&original), Err(JournalError::Version { found: 0, .. })));
        let (_, rebuilt) = Journal::open_or_rebuild(&original).unwrap();
        assert!(rebuilt.unwrap().moved_to.exists());
    }

    #[test]
    fn the_file_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _journal = filled(&path);
        for file in fs::read_dir(dir.path()).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.path());
        }
    }
}
