//! `loteria`: the operator's command.
//!
//! Arguments and exit codes; everything else is the library's.

mod arguments;
mod engine;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use loteria::arguments::{Stop, parse};
use loteria::logging::{self, say_on_stderr};
use loteria::operator::{self, Failure, Place, Source, Stored, WinnersOf};

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
    let source = || engine::source(Stored::find(&named)?);
    let out: &mut dyn Write = &mut io::stdout();
    let yes = |()| true;
    match command {
        Command::Status { watch: true, json: _ } => operator::watch(&hub()?).map(yes),
        Command::Status { watch: false, json } => operator::status(&hub()?, json, out).map(yes),
        Command::Connections { json } => operator::connections(&hub()?, json, out).map(yes),
        Command::Events => operator::events(&hub()?, out).map(yes),
        Command::Why => operator::why(&hub()?, out).map(yes),
        Command::Health { ready } => operator::health(&hub()?, ready, out),
        Command::Winners { agency, csv, json, stored } => {
            let place = if stored { None } else { Some(place()?) };
            // A socket that is named says nothing of a store.
            let unknown = named.socket.is_some() && named.store.is_none() && named.config.is_none();
            // A hub can be asked whether or not the configuration says of a store what can be used.
            let found = Stored::find(&named);
            let draw = found.as_ref().ok().and_then(Stored::draw);
            let source = || if unknown { Ok(None) } else { engine::source(found?).map(Some) };
            operator::winners(place.as_ref(), source, WinnersOf { draw, agency }, format(csv, json), out).map(yes)
        }
        Command::Verify { path, against } => {
            let source = path.map_or_else(source, |path| Ok(Source::Files(path)))?;
            operator::verify(source, against.as_deref(), out)
        }
        Command::Export { file } => operator::export(source()?, &file, out).map(yes),
        Command::Import { path } => {
            let shared = Stored::find(&named)?.shared()?;
            let mut reader = engine::connect(&shared, true)?;
            operator::import(&mut reader, &shared.postgres.place(), &path, out).map(yes)
        }
        Command::ReleaseDraw { yes: sure } => {
            let mut reader = engine::connect(&*Stored::find(&named)?.shared()?, true)?;
            operator::release_draw(&mut reader, sure, out).map(yes)
        }
        Command::NewStore => operator::new_store(&files(Stored::find(&named)?)?, jiff::Timestamp::now(), out).map(yes),
        Command::LogLevel { level } => operator::log_level(&hub()?, level, out).map(yes),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "loteria", &mut script);
            out.write_all(&script).map(yes).map_err(Failure::Output)
        }
    }
}

/// The store of a command that is for files only.
fn files(stored: Stored) -> Result<std::path::PathBuf, Failure> {
    match stored {
        Stored::Files(store) => Ok(store),
        Stored::Engine(_) => Err(Failure::Usage(
            "with [STORAGE] ENGINE = postgres there is no store to archive: a new draw is another [LOTTERY] DRAW"
                .to_owned(),
        )),
    }
}

/// One line, and the exit code.
fn refuse(line: &str, code: u8) -> ExitCode {
    say_on_stderr(&format!("loteria: {}", logging::Value(line)));
    ExitCode::from(code)
}
