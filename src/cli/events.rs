//! Runs work that speaks in events, and shows them meanwhile.

use tokio::sync::mpsc;

use crate::exec::event::Event;
use crate::plan::PlanId;

use super::context::Context;
use super::error::CommandError;

/// Runs `work` and shows its events until the last sender is dropped. A failure of the work goes before a failure of
/// the output.
///
/// # Errors
/// The work's, or the output cannot be written.
pub async fn show_events<T, F>(
    ctx: &Context,
    plan: Option<PlanId>,
    work: impl FnOnce(mpsc::UnboundedSender<Event>) -> F,
) -> Result<T, CommandError>
where
    F: Future<Output = Result<T, CommandError>>,
{
    let (sender, receiver) = mpsc::unbounded_channel();
    let (outcome, shown) = tokio::join!(work(sender), ctx.display().pump(receiver, plan));
    let value = outcome?;
    shown.map_err(CommandError::output)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::diagnostic::Look;
    use crate::cli::error::Exit;
    use crate::cli::shutdown::Shutdown;
    use crate::exec::event::EventKind;

    fn quiet() -> Context {
        Context {
            config: "pcrd.config.yml".into(),
            state: None,
            json: false,
            verbose: 0,
            quiet: true,
            look: Look::plain(80),
            shutdown: Shutdown::new(),
        }
    }

    #[tokio::test]
    async fn every_event_is_received_before_the_outcome() {
        let n_events = 3000;
        let ctx = quiet();
        let sent = show_events(&ctx, None, |events| async move {
            for at_ms in 0..n_events {
                let kind = EventKind::Note { text: "n".into() };
                events.send(Event { at_ms, step: None, kind }).unwrap();
            }
            Ok(n_events)
        });
        assert_eq!(sent.await.unwrap(), n_events);
    }

    #[tokio::test]
    async fn the_works_failure_is_the_outcome() {
        let failed: Result<(), _> =
            show_events(&quiet(), None, |_events| async { Err(CommandError::new(Exit::Busy, "busy")) }).await;
        assert_eq!(failed.unwrap_err().exit(), Exit::Busy);
    }
}
