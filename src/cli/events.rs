//! Runs work that speaks in events, and shows them meanwhile.

use tokio::sync::mpsc;

use crate::exec::event::Event;
use crate::plan::PlanId;

use super::context::Context;
use super::error::CommandError;

/// Events that may wait for a slow terminal before the executor waits too.
const QUEUE: usize = 1024;

/// Runs `work` and shows its events until the last sender is dropped. A failure of the work goes before a failure of
/// the output.
///
/// # Errors
/// The work's, or the output cannot be written.
pub async fn show_events<T, F>(
    ctx: &Context,
    plan: Option<PlanId>,
    work: impl FnOnce(mpsc::Sender<Event>) -> F,
) -> Result<T, CommandError>
where
    F: Future<Output = Result<T, CommandError>>,
{
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (outcome, shown) = tokio::join!(work(sender), ctx.display().pump(receiver, plan));
    let value = outcome?;
    shown.map_err(CommandError::output)?;
    Ok(value)
}
