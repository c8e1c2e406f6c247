//! `loteria status --watch`: the status again and again, on a terminal as one screen.

use std::io::{self, IsTerminal, Stdout, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::ask::report;
use super::failure::Failure;
use super::http::Hub;
use super::screen::{broken, line_of_report, of_report};
use crate::limits::WATCH_PERIOD;

/// The screen of a terminal that does not report its size.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// Shows the hub's status every second, until a signal. A hub that is gone is waited for once it has answered.
///
/// # Errors
/// No hub answers the first time; standard output cannot be written.
pub fn watch(hub: &Hub) -> Result<(), Failure> {
    let signals = StopSignals::register().map_err(Failure::Output)?;
    let hub = hub.clone().until(Arc::clone(&signals.came));
    let mut seen = report(&hub)?;
    let mut screen = Screen::of(io::stdout());
    let mut gone = None;
    loop {
        screen.show(&seen, gone.take()).map_err(Failure::Output)?;
        if signals.wait().map_err(Failure::Output)? {
            return Ok(());
        }
        match report(&hub) {
            Ok(report) => seen = report,
            Err(Failure::Stopped) => return Ok(()),
            Err(failure) => gone = Some(failure.to_string()),
        }
    }
}

/// SIGINT, SIGTERM and SIGHUP as a flag, and as bytes that end a wait.
struct StopSignals {
    came: Arc<AtomicBool>,
    bytes: UnixStream,
}

impl StopSignals {
    fn register() -> io::Result<StopSignals> {
        let came = Arc::new(AtomicBool::new(false));
        let (bytes, written) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&came))?;
            signal_hook::low_level::pipe::register(signal, written.try_clone()?)?;
        }
        Ok(StopSignals { came, bytes })
    }

    /// Waits for a period; true where a signal has come.
    fn wait(&self) -> io::Result<bool> {
        let period = Timespec::try_from(WATCH_PERIOD).ok();
        match poll(&mut [PollFd::new(&self.bytes, PollFlags::IN)], period.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(self.came.load(Ordering::Relaxed)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Standard output: a terminal that is drawn over, or lines for another reader.
struct Screen {
    out: Stdout,
    is_terminal: bool,
}

impl Screen {
    fn of(out: Stdout) -> Screen {
        let is_dumb = std::env::var_os("TERM").is_none_or(|name| name.is_empty() || name == "dumb");
        let is_terminal = out.is_terminal() && !is_dumb;
        let mut screen = Screen { out, is_terminal };
        if is_terminal {
            // The alternate screen, without a cursor (xterm's control sequences).
            let _ = screen.out.write_all(b"\x1b[?1049h\x1b[?25l");
        }
        screen
    }

    fn show(&mut self, seen: &crate::status::report::Report, gone: Option<String>) -> io::Result<()> {
        if !self.is_terminal {
            let line = gone.unwrap_or_else(|| line_of_report(seen));
            writeln!(self.out, "{line}")?;
            return self.out.flush();
        }
        let (columns, rows) = self.size();
        // The last row is the hint's; nothing is written to the last column, where some terminals wrap.
        let mut lines = of_report(seen, columns.saturating_sub(1), rows.saturating_sub(1));
        if let Some(gone) = gone {
            let gone = broken(&gone, columns.saturating_sub(1), 0);
            lines.splice(0..0, gone.into_iter().map(|line| format!("\x1b[7m{line}\x1b[0m")));
            lines.truncate(rows.saturating_sub(1));
        }
        let mut picture = "\x1b[H".to_owned();
        for line in lines {
            picture.push_str(&line);
            picture.push_str("\x1b[K\r\n");
        }
        picture.push_str("\x1b[JCtrl-C ends this");
        self.out.write_all(picture.as_bytes())?;
        self.out.flush()
    }

    fn size(&self) -> (usize, usize) {
        let size = rustix::termios::tcgetwinsize(&self.out).ok();
        let size = size.map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        size.filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or(USUAL_SIZE)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal {
            let _ = self.out.write_all(b"\x1b[?25h\x1b[?1049l");
            let _ = self.out.flush();
        }
    }
}
