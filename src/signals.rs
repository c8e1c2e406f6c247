//! The second SIGTERM or SIGINT: the same request again, or the wish that the program end at once.
//!
//! Wrappers deliver one request twice. coreutils' `timeout` signals its child and then its group, and Ctrl-C reaches
//! a program and the shell that passes it on. A signal that follows the first within
//! [`SIGNAL_REPEAT`](limits::SIGNAL_REPEAT) is therefore the same request. A later one ends the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::limits;

/// Ends the process at a second signal, once that counts as one.
#[derive(Debug)]
pub struct SecondSignal {
    armed: Arc<AtomicBool>,
}

impl SecondSignal {
    /// Takes the signals over. Those that come once this is armed end the process with `status` of the signal.
    ///
    /// # Errors
    /// As the system says.
    pub fn register(status: impl Fn(i32) -> i32) -> io::Result<SecondSignal> {
        let armed = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_conditional_shutdown(signal, status(signal), Arc::clone(&armed))?;
        }
        Ok(SecondSignal { armed })
    }

    /// The first signal has come. A thread counts the time, for the program may be busy with its end.
    pub fn arm_soon(&self) {
        let armed = Arc::clone(&self.armed);
        let counts = thread::Builder::new().name("signals".to_owned()).spawn(move || count(&armed));
        if counts.is_err() {
            self.armed.store(true, Ordering::Relaxed);
        }
    }

    /// Arms itself after the first signal, whatever the program is doing then: it may be blocked in a read.
    ///
    /// # Errors
    /// As the system says.
    pub fn arm_after_first(self) -> io::Result<()> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if signals.forever().next().is_some() {
                count(&self.armed);
            }
        })?;
        Ok(())
    }
}

fn count(armed: &AtomicBool) {
    thread::sleep(limits::SIGNAL_REPEAT);
    armed.store(true, Ordering::Relaxed);
}
