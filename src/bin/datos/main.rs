//! Makes agency files of invented bets: the same flags give the same bytes, on any machine. Counts those of others.

mod bets;
mod people;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bets::{Bets, Shape};
use lexopt::ValueExt;
use loteria::agency::{BetFile, BetReader, BetReaderError};

const HELP: &str = "\
Makes agency files of invented bets, agency-1.csv to agency-N.csv: no header, CRLF,
first_name,last_name,document,birthdate,number. The same flags give the same bytes.

usage: datos --out DIR [options]
       datos --count [--number N] FILE...

  --out DIR         where the files go; made if it is not there
  --agencies N      how many files (5)
  --bets LIST       bets of each: 3000,2500,… ; the last value goes on for the agencies after it (1000)
  --winners LIST    bets of each that are on the winning number, likewise (0)
  --number N        the winning number (7574)
  --seed N          another seed, other bets (1)
  --quoting         give some names commas and quotes; the csv dialect cannot carry the commas
  --count           count the bets and winners of these files, read as the client reads them
  --help            this text

example: datos --out .data --bets 4000,3500,3000,2500,2000 --winners 2,3,1,4,0
";

/// Why no files were made.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}; see datos --help")]
    Usage(String),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{0}")]
    Bets(#[from] BetReaderError),
}

enum Ask {
    Make(Arguments),
    Count { files: Vec<PathBuf>, number: u32 },
    Help,
}

struct Arguments {
    out: PathBuf,
    agencies: u32,
    bets: Vec<u64>,
    winners: Vec<u64>,
    number: u32,
    seed: u64,
    quoting: bool,
}

fn main() -> ExitCode {
    let done = read_arguments().and_then(|ask| match ask {
        Ask::Make(arguments) => make(&arguments),
        Ask::Count { files, number } => files.iter().try_for_each(|file| count(file, number)),
        Ask::Help => {
            let _ = io::stdout().write_all(HELP.as_bytes());
            Ok(())
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "datos: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { 1 })
        }
    }
}

fn read_arguments() -> Result<Ask, Failure> {
    let mut out = None;
    let mut counted = None;
    let mut arguments = Arguments {
        out: PathBuf::new(),
        agencies: 5,
        bets: vec![1000],
        winners: vec![0],
        number: 7574,
        seed: 1,
        quoting: false,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            lexopt::Arg::Long("out") => out = Some(PathBuf::from(parser.value().map_err(usage)?)),
            lexopt::Arg::Long("agencies") => arguments.agencies = value(&mut parser)?,
            lexopt::Arg::Long("bets") => arguments.bets = list(&mut parser, "--bets")?,
            lexopt::Arg::Long("winners") => arguments.winners = list(&mut parser, "--winners")?,
            lexopt::Arg::Long("number") => arguments.number = value(&mut parser)?,
            lexopt::Arg::Long("seed") => arguments.seed = value(&mut parser)?,
            lexopt::Arg::Long("quoting") => arguments.quoting = true,
            lexopt::Arg::Long("count") => counted = Some(Vec::new()),
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => return Ok(Ask::Help),
            lexopt::Arg::Value(file) if counted.is_some() => counted.get_or_insert_default().push(PathBuf::from(file)),
            lexopt::Arg::Long(_) | lexopt::Arg::Short(_) | lexopt::Arg::Value(_) => {
                return Err(usage(argument.unexpected()));
            }
        }
    }
    if let Some(files) = counted {
        if out.is_some() || files.is_empty() {
            return Err(Failure::Usage("--count reads files, one at least, and makes none".to_owned()));
        }
        return Ok(Ask::Count { files, number: arguments.number });
    }
    arguments.out = out.ok_or_else(|| Failure::Usage("--out says where, and is missing".to_owned()))?;
    for (flag, list) in [("--bets", &arguments.bets), ("--winners", &arguments.winners)] {
        if list.len() > arguments.agencies as usize {
            return Err(Failure::Usage(format!("{flag} has more values than there are agencies")));
        }
    }
    Ok(Ask::Make(arguments))
}

fn usage(error: lexopt::Error) -> Failure {
    Failure::Usage(error.to_string())
}

fn value<T: std::str::FromStr<Err: Into<Box<dyn std::error::Error + Send + Sync>>>>(
    parser: &mut lexopt::Parser,
) -> Result<T, Failure> {
    parser.value().and_then(|value| value.parse()).map_err(usage)
}

fn list(parser: &mut lexopt::Parser, flag: &str) -> Result<Vec<u64>, Failure> {
    let text = parser.value().and_then(|value| value.string()).map_err(usage)?;
    let numbers: Result<Vec<u64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    numbers.map_err(|_| Failure::Usage(format!("{flag}: '{text}' is not a list of numbers such as 3000,2500")))
}

/// The value of agency `id`, from 1: the list's own, or its last.
fn of_agency(list: &[u64], id: u32) -> u64 {
    list.get(id as usize - 1).or(list.last()).copied().unwrap_or(0)
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
    fs::create_dir_all(&arguments.out).map_err(|error| Failure::File { path: arguments.out.clone(), error })?;
    for id in 1..=arguments.agencies {
        let shape = Shape {
            agency: id,
            bets: of_agency(&arguments.bets, id),
            winners: of_agency(&arguments.winners, id),
            number: arguments.number,
            seed: arguments.seed,
            quoting: arguments.quoting,
        };
        if shape.winners > shape.bets {
            return Err(Failure::Usage(format!("agency {id} cannot have {} winners", shape.winners)));
        }
        let path = arguments.out.join(format!("agency-{id}.csv"));
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
