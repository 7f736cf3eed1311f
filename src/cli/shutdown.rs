//! Ctrl-C and SIGTERM: the first asks for a clean stop, the second ends the process.

use std::io::Write;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::error::Exit;

/// The operator's wish to stop, shared by everything that runs.
#[derive(Debug, Clone)]
pub struct Shutdown {
    stop: watch::Sender<bool>,
}

impl Shutdown {
    /// Nothing was asked for yet, and no signal is listened to.
    pub fn new() -> Self {
        Self { stop: watch::Sender::new(false) }
    }

    /// Listens to SIGINT and SIGTERM for the rest of the process. Needs a tokio runtime.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn listen() -> std::io::Result<Self> {
        let shutdown = Self::new();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let asked = shutdown.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if asked.is_requested() {
                    std::process::exit(Exit::Interrupted as i32);
                }
                asked.request();
                // Nothing better can be done about a stderr that is gone.
                let _ = writeln!(std::io::stderr(), "stopping; a second signal stops at once");
            }
        });
        Ok(shutdown)
    }

    /// Asks for a clean stop.
    pub fn request(&self) {
        self.stop.send_replace(true);
    }

    /// True once a stop was asked for.
    pub fn is_requested(&self) -> bool {
        *self.stop.borrow()
    }

    /// The value for the executor: becomes `true` once, and stays so.
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Returns once a stop was asked for.
    pub async fn requested(&self) {
        let mut stop = self.subscribe();
        // `self` holds a sender, so the channel is open as long as this waits.
        let _ = stop.wait_for(|asked| *asked).await;
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn late_listeners_hear_of_an_early_request() {
        let shutdown = Shutdown::new();
        let early = shutdown.subscribe();
        shutdown.clone().request();
        assert!(*early.borrow());
        assert!(*shutdown.subscribe().borrow());
        shutdown.requested().await;
    }
}
