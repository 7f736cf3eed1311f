//! Rows of a source table with several targets that none of them takes: counted when the plan is made and before anything
//! is written, and again around the fence, because rows come and change.

use super::ExecError;
use super::checks;
use super::context::Run;
use crate::pg::client::Client;
use crate::plan::End;
use crate::resolve::split::gap_check_id;

/// Counts them, unless somebody has accepted that they stay behind.
///
/// # Errors
/// [`ExecError::CutoverAborted`] when there are some.
pub async fn ask(run: &Run, source: &Client) -> Result<(), ExecError> {
    for check in run.plan.checks.iter().filter(|check| check.id == gap_check_id(&check.table)) {
        let failed = |error| ExecError::Postgres { side: End::Source, doing: format!("run {}", check.id), error };
        let result = checks::run(source, check, false).await.map_err(failed)?;
        let left: u64 = result.failing.iter().sum();
        if left > 0 {
            let reason = format!(
                "{left} of {} rows of {} are in none of its targets. Change them on the source and cut over again; to see \
                 them: {}",
                result.rows, check.table, check.predicates[0].sample_sql
            );
            return Err(ExecError::CutoverAborted { reason });
        }
    }
    Ok(())
}
