//! SIGTERM and SIGINT, from the program's first moment on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook_mio::v1_0::Signals;

use crate::signals::SecondSignal;

/// The signals that end the program, and SIGHUP and SIGUSR1, which are the loop's alone. One that ends the program and comes
/// while the store is still being opened ends that; later ones end the loop. A second signal ends the program at once, unless it
/// is a repeat of the first.
pub struct StopSignals {
    pub(super) signals: Signals,
    pub(super) second: SecondSignal,
    opening: Arc<AtomicBool>,
    while_opening: Vec<SigId>,
}

impl StopSignals {
    /// Takes the signals over.
    ///
    /// # Errors
    /// As the system says.
    pub fn register() -> io::Result<StopSignals> {
        let second = SecondSignal::register(|_| 1)?;
        let opening = Arc::new(AtomicBool::new(false));
        let mut while_opening = Vec::new();
        for signal in [SIGTERM, SIGINT] {
            while_opening.push(signal_hook::flag::register(signal, Arc::clone(&opening))?);
        }
        Ok(StopSignals { signals: Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?, second, opening, while_opening })
    }

    /// Becomes true with a signal that comes before [`opened`](Self::opened).
    pub fn opening(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.opening)
    }

    /// Whether a signal came while the store was being opened.
    pub fn came_while_opening(&self) -> bool {
        self.opening.load(Ordering::Relaxed)
    }

    /// The store is open: signals are the loop's from here on, those that have come already too.
    pub fn opened(&mut self) {
        for id in self.while_opening.drain(..) {
            signal_hook::low_level::unregister(id);
        }
        self.opening.store(false, Ordering::Relaxed);
    }
}
