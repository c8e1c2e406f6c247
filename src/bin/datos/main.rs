//! Makes agency files of invented bets: the same flags give the same bytes, on any machine. Counts those of others.

mod arguments;
mod bets;
mod people;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arguments::Arguments;
use bets::{Bets, Shape};
use loteria::agency::{BetFile, BetReader, BetReaderError};
use loteria::arguments::{Stop, parse};

/// Why no files were made.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{0}")]
    Bets(#[from] BetReaderError),
}

fn main() -> ExitCode {
    let done = match parse::<Arguments>() {
        Ok(arguments) if arguments.count => arguments.files.iter().try_for_each(|file| count(file, arguments.number)),
        Ok(arguments) => make(&arguments),
        Err(Stop::Printed) => Ok(()),
        Err(Stop::Usage(line)) => Err(Failure::Usage(line)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "datos: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { 1 })
        }
    }
}

/// Tells how many bets a file has, and how many of them are on `number`.
fn count(file: &Path, number: u32) -> Result<(), Failure> {
    let mut reader = BetFile::open(file)?;
    let (mut bets, mut winners) = (0u64, 0u64);
    while reader.advance()? {
        bets += 1;
        winners += u64::from(reader.current().is_some_and(|bet| bet.number == Some(number)));
    }
    let _ = writeln!(io::stdout(), "{}: bets {bets}, winners {winners}", file.display());
    Ok(())
}

fn make(arguments: &Arguments) -> Result<(), Failure> {
    let wrong = |what: String| Failure::Usage(format!("{what} (try --help)"));
    for (flag, list) in [("--bets", &arguments.bets), ("--winners", &arguments.winners)] {
        if list.0.len() > arguments.agencies as usize {
            return Err(wrong(format!("{flag} has more values than there are agencies")));
        }
    }
    let out = arguments.out.as_deref().unwrap_or(Path::new("."));
    fs::create_dir_all(out).map_err(|error| Failure::File { path: out.to_owned(), error })?;
    for id in 1..=arguments.agencies {
        let shape = Shape {
            agency: id,
            bets: arguments.bets.of_agency(id),
            winners: arguments.winners.of_agency(id),
            number: arguments.number,
            seed: arguments.seed,
            quoting: arguments.quoting,
        };
        if shape.winners > shape.bets {
            return Err(wrong(format!("agency {id} cannot have {} winners", shape.winners)));
        }
        let path = out.join(format!("agency-{id}.csv"));
        write_whole(&path, &shape).map_err(|error| Failure::File { path: path.clone(), error })?;
        let _ = writeln!(io::stdout(), "{}: bets {}, winners {}", path.display(), shape.bets, shape.winners);
    }
    Ok(())
}

/// Writes beside the file and then takes its name: a file that is there is whole.
fn write_whole(path: &Path, shape: &Shape) -> io::Result<()> {
    let part = path.with_extension("csv.part");
    let mut out = BufWriter::with_capacity(1 << 18, File::create(&part)?);
    let written = Bets::new(shape).write(&mut out).and_then(|()| out.flush());
    match written.and_then(|()| fs::rename(&part, path)) {
        Ok(()) => Ok(()),
        Err(error) => {
            let _ = fs::remove_file(&part);
            Err(error)
        }
    }
}
