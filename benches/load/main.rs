//! A load generator for the hub: any dialect, any number of connections, bets by the hundred million.
//!
//! One thread and one epoll loop, so that on a small machine the hub keeps a core to itself. It sends
//! frames that were encoded before the clock started and reads answers; it checks every answer and stops
//! at the first batch that is refused, since a rate of refusals is no rate.
//!
//! It is a bench target of the crate, not a program of it: it uses the wire's client side and the lottery,
//! and needs no dependency that the hub does not have, but for the histogram.

// Whatever answer is not the expected one ends the run and is printed; naming each would say nothing more.
#![allow(clippy::wildcard_enum_match_arm)]

mod connection;
mod frames;
mod jetstream;
mod options;
mod process;
mod report;
mod run;

use std::io::Write;
use std::process::ExitCode;

use options::{Options, USAGE};

fn main() -> ExitCode {
    match Options::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => match run::run(&options) {
            Ok(outcome) => say(&mut std::io::stdout(), &outcome.text(&options), ExitCode::SUCCESS),
            Err(error) => say(&mut std::io::stderr(), &format!("load: {error}"), ExitCode::FAILURE),
        },
        Ok(None) => say(&mut std::io::stdout(), USAGE, ExitCode::SUCCESS),
        Err(error) => say(&mut std::io::stderr(), &format!("load: {error}"), ExitCode::from(2)),
    }
}

/// Writes `text`, and returns `code`; a failure where the output is closed.
fn say(to: &mut dyn Write, text: &str, code: ExitCode) -> ExitCode {
    match writeln!(to, "{text}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}
