//! `loteria`: the operator's command.
//!
//! Arguments and exit codes; everything else is the library's.

mod arguments;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use loteria::arguments::{Stop, parse};
use loteria::logging::{self, say_on_stderr};
use loteria::operator::{self, Failure, Place};

use arguments::{Arguments, Command, format};

fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(Stop::Printed) => return ExitCode::SUCCESS,
        Err(Stop::Usage(line)) => return refuse(&line, 2),
    };
    match run(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // The reader of the output has gone, and has read what it wanted.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(1),
        Err(failure) => refuse(&failure.to_string(), failure.code()),
    }
}

/// Whether the answer is yes, where the command asks for one.
fn run(arguments: Arguments) -> Result<bool, Failure> {
    let Arguments { place, command } = arguments;
    let named = place.named();
    let place = || Place::find(&named);
    let hub = || place()?.hub();
    let out: &mut dyn Write = &mut io::stdout();
    let yes = |()| true;
    match command {
        Command::Status { watch: true, json: _ } => operator::watch(&hub()?).map(yes),
        Command::Status { watch: false, json } => operator::status(&hub()?, json, out).map(yes),
        Command::Connections { json } => operator::connections(&hub()?, json, out).map(yes),
        Command::Events => operator::events(&hub()?, out).map(yes),
        Command::Why => operator::why(&hub()?, out).map(yes),
        Command::Health { ready } => operator::health(&hub()?, ready, out),
        Command::Winners { agency, csv, json } => operator::winners(&place()?, agency, format(csv, json), out).map(yes),
        Command::Verify { path, against } => operator::verify(&path, against.as_deref(), out),
        Command::NewStore => operator::new_store(&stored(place()?)?, jiff::Timestamp::now(), out).map(yes),
        Command::LogLevel { level } => operator::log_level(&hub()?, level, out).map(yes),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "loteria", &mut script);
            out.write_all(&script).map(yes).map_err(Failure::Output)
        }
    }
}

/// The store of a command that cannot do without.
fn stored(place: Place) -> Result<std::path::PathBuf, Failure> {
    place.store.ok_or_else(|| Failure::Usage("--socket names no store: name it with --store".to_owned()))
}

/// One line, and the exit code.
fn refuse(line: &str, code: u8) -> ExitCode {
    say_on_stderr(&format!("loteria: {}", logging::Value(line)));
    ExitCode::from(code)
}
