//! Rows of a target with several sources that come from none of them: the comparison of a source sees only its own.

use tokio_postgres::Client;

use super::ranges::DIFFERENCES_MAX;
use super::sides::failed;
use crate::exec::ExecError;
use crate::projection::Projection;
use crate::sql::{Side, literal, part};
use crate::verify::{Difference, DifferenceKind, TableReport};

/// Adds the rows of nobody to the report of the source that answers for them; nothing for any other. Asked once for each
/// target, and at any time: no change of a source makes such a row, even for a moment.
pub async fn add(target: &Client, projection: &Projection, report: &mut TableReport) -> Result<(), ExecError> {
    let doing = || format!("look for rows of {} that come from none of its sources", projection.target);
    let Some(query) = part::constants(projection) else { return Ok(()) };
    let constants = target.query(&query, &[]).await.map_err(failed(Side::Target, doing()))?;
    let constants: Vec<String> = constants.iter().map(|row| row.get(0)).collect();
    let Some(query) = part::strays(projection, &constants, DIFFERENCES_MAX) else { return Ok(()) };
    let found = target.query(&query, &[]).await.map_err(failed(Side::Target, doing()))?;
    report.rows_target += found.len() as u64;
    report.differences.extend(found.iter().map(|row| {
        let column = projection.part.iter().map(|part| format!("{} = {}", part.column, literal(row.get(1))));
        let key: Vec<String> = (2..row.len()).map(|at| row.get(at)).collect();
        let shown = if key.is_empty() { vec![format!("ctid {}", row.get::<_, String>(0))] } else { key };
        Difference {
            key: shown.into_iter().chain(column).collect(),
            columns: Vec::new(),
            kind: DifferenceKind::ExtraOnTarget,
            values: Vec::new(),
        }
    }));
    Ok(())
}
