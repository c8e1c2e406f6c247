//! Hostile peers by the thousand, and what the agencies notice of them.
//!
//! `hostile compare` starts the hub twice. Both times five agencies, each in another dialect, upload their bets a batch at
//! a time and draw; the second time thousands of hostile connections of many kinds (`kinds.rs`) are there before them,
//! more than the hub has slots. It prints what the agencies noticed each time, what the hub used, and, of the hostile
//! side, what it did and what the hub's log says of it.
//!
//! `hostile parked` opens as many parked queries as there are descriptors for, measures what each costs the hub,
//! waits for longer than the hub takes to give a silent peer up, draws, and counts the answers.
//!
//! It is a bench target of the crate, like the load generator. The hostile peers run in a process of their own, as
//! `hostile attack`.

#![allow(clippy::print_stdout, reason = "a program whose standard output is what it is for")]
// Whatever answer is not the expected one ends the run and is printed; naming each would say nothing more.
#![allow(clippy::wildcard_enum_match_arm)]

mod agency;
mod attack;
mod certificates;
mod hub;
mod kinds;
mod parked;
#[path = "../load/process.rs"]
#[allow(dead_code, reason = "the load generator reads more of it")]
mod process;
mod queries;
mod side;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use agency::Waits;
use attack::Viewers;
use certificates::Certificates;
use hub::Hub;

const USAGE: &str = "\
Hostile peers by the thousand, and what the agencies notice of them.

usage: hostile compare|parked [FLAGS]

  compare            five agencies draw, without hostile peers and with them, in turns
  parked             parked queries: what each costs the hub, and that all are answered

  --server FILE      the hub's program (target/release/server)
  --data FOLDER      agency-1.csv to agency-5.csv ($LOTERIA_DATA, ../shared/data, or .data)
  --connections N    hostile peers, some of which are always between two connections: with 16000 the hub's 10000 slots
                     are taken (16000); or parked queries (15000)
  --viewers N        of the hostile peers, how many more are at the hub's status port (1000; 0: it has none)
  --batch N          bets in an agency's batch (62)
  --pause DURATION   an agency's pause between two batches (50ms; 0 is none)
  --wait DURATION    how long parked queries wait for the draw (150s: longer than DEAD_PEER_TIMEOUT, 2m)
  --away DURATION    how long a hostile peer whose connection has ended stays away (5s; 1s makes a flood of it)
  --fsync MODE       always or never, as STORAGE_FSYNC (always): never shows the hub without its disk
  --pairs N          how often both are run; medians are shown (3)
  --help             this text

exit codes: 0 the agencies were well served; 1 they were not; 2 wrong usage
";

/// Acknowledgements under attack may take so many times what they take without, at the 99th percentile.
const SLOWER_MAX: f64 = 2.0;
/// What the hub may have resident under attack: its buffers' limit, and 160 MiB for everything else and for what the
/// allocator cannot give back at once.
const MEMORY_MAX_KIB: u64 = (loteria::limits::BUFFERS_BYTES_MAX as u64 / 1024) + 160 * 1024;
/// How often the hub's connections are counted.
const COUNTING: Duration = Duration::from_secs(1);
/// How many of the things that the hub's log says of peers are shown.
const SAID_SHOWN: usize = 25;

struct Options {
    command: Command,
    server: PathBuf,
    data: PathBuf,
    connections: Option<usize>,
    viewers: usize,
    batch: usize,
    pause: Duration,
    away: Duration,
    wait: Duration,
    fsync: String,
    pairs: usize,
    address: Option<SocketAddr>,
    /// The status port, of `attack`.
    status: Option<SocketAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    Compare,
    Parked,
    Attack,
    Help,
}

fn main() -> ExitCode {
    let options = match read_options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("hostile: {error} (try --help)");
            return ExitCode::from(2);
        }
    };
    let done = match options.command {
        Command::Help => {
            print!("{USAGE}");
            Ok(true)
        }
        Command::Compare => {
            hub::let_agencies_go_first();
            compare(&options)
        }
        Command::Parked => parked::measure(&options.server, options.connections.unwrap_or(15_000), options.wait),
        Command::Attack => match options.address {
            Some(address) => {
                let viewers = options.status.map(|address| Viewers { address, count: options.viewers });
                side::run(address, options.connections.unwrap_or(16_000), viewers, options.away).map(|()| true)
            }
            None => Err("attack needs --address".to_owned()),
        },
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hostile: {error}");
            ExitCode::FAILURE
        }
    }
}

fn read_options() -> Result<Options, String> {
    use lexopt::prelude::*;
    let mut options = Options {
        command: Command::Help,
        server: "target/release/server".into(),
        data: default_data(),
        connections: None,
        viewers: 1000,
        batch: 62,
        pause: Duration::from_millis(50),
        away: Duration::from_secs(5),
        wait: Duration::from_secs(150),
        fsync: "always".to_owned(),
        pairs: 3,
        address: None,
        status: None,
    };
    let mut parser = lexopt::Parser::from_env();
    let said = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(said)? {
        match argument {
            Long("server") => options.server = parser.value().map_err(said)?.into(),
            Long("data") => options.data = parser.value().map_err(said)?.into(),
            Long("connections") => {
                options.connections = Some(parser.value().map_err(said)?.parse().map_err(said)?);
            }
            Long("viewers") => options.viewers = parser.value().map_err(said)?.parse().map_err(said)?,
            Long("batch") => options.batch = parser.value().map_err(said)?.parse::<usize>().map_err(said)?.max(1),
            Long("pause") => options.pause = duration("--pause", &mut parser)?,
            Long("away") => options.away = duration("--away", &mut parser)?,
            Long("wait") => options.wait = duration("--wait", &mut parser)?,
            Long("fsync") => {
                options.fsync = parser.value().map_err(said)?.into_string().map_err(|_| "--fsync: always or never")?;
            }
            Long("status") => options.status = Some(parser.value().map_err(said)?.parse().map_err(said)?),
            Long("address") => options.address = Some(parser.value().map_err(said)?.parse().map_err(said)?),
            Long("pairs") => options.pairs = parser.value().map_err(said)?.parse::<usize>().map_err(said)?.max(1),
            Value(word) if word == "compare" => options.command = Command::Compare,
            Value(word) if word == "parked" => options.command = Command::Parked,
            Value(word) if word == "attack" => options.command = Command::Attack,
            Long("help") | Short('h') => options.command = Command::Help,
            // `cargo bench` says this to every target.
            Long("bench") => {}
            Short(_) | Long(_) | Value(_) => return Err(argument.unexpected().to_string()),
        }
    }
    Ok(options)
}

fn duration(flag: &str, parser: &mut lexopt::Parser) -> Result<Duration, String> {
    let value = parser.value().map_err(|error| error.to_string())?;
    let parsed = value.to_str().and_then(loteria::config::parse_duration);
    parsed.ok_or_else(|| format!("{flag} {}: no duration", value.to_string_lossy()))
}

fn default_data() -> PathBuf {
    let from_environment = std::env::var_os("LOTERIA_DATA").map(PathBuf::from);
    let folders = from_environment.into_iter().chain(["../shared/data".into()]);
    folders.into_iter().find(|folder| folder.join("agency-1.csv").exists()).unwrap_or_else(|| ".data".into())
}

/// What one run showed.
struct Run {
    waits: Waits,
    peak_kib: u64,
    cpu: Duration,
    took: Duration,
    /// Connections at the hub, the agencies' included.
    connections: usize,
    /// What the hostile side did, and what the hub's log says of it.
    told: String,
}

/// Without hostile peers and with them, in turns, so that whatever else the machine does falls on both.
fn compare(options: &Options) -> Result<bool, String> {
    let connections = options.connections.unwrap_or(16_000);
    let agencies = agency::load(&options.data)?;
    let bets: usize = agencies.iter().map(agency::Agency::bets).sum();
    let winners: Vec<String> = agencies.iter().map(|agency| agency.winners().len().to_string()).collect();
    println!(
        "five agencies, {bets} bets of {} in batches of {}, {:?} apart, fsync {}; {} times each way",
        options.data.display(),
        options.batch,
        options.pause,
        options.fsync,
        options.pairs
    );
    let certificates = Certificates::make();
    if let Err(why) = &certificates {
        println!("the hub has no TLS, so that greetings of TLS are mere garbage to it: {why}");
    }
    let certificates = certificates.ok();
    let (mut quiet, mut loud) = (Vec::new(), Vec::new());
    for _ in 0..options.pairs {
        quiet.push(one_run(options, &agencies, certificates.as_ref(), 0)?);
        loud.push(one_run(options, &agencies, certificates.as_ref(), connections)?);
    }
    println!("{}", loud.last().map_or("", |run| &run.told));
    println!(
        "| connections at the hub | acks | ack p50 | ack p99 | longest | first batch after | hub's processor time | its peak memory |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for runs in [&quiet, &loud] {
        println!(
            "| {} | {} | {:.2?} | {:.2?} | {:.2?} | {:.2?} | {:.0} % of a core | {} MiB |",
            median(runs, |run| run.connections),
            median(runs, |run| run.waits.count()),
            median(runs, |run| run.waits.p50()),
            median(runs, |run| run.waits.p99()),
            median(runs, |run| run.waits.max()),
            median(runs, |run| run.waits.entry),
            median(runs, |run| run.cpu * 100).as_secs_f64() / median(runs, |run| run.took).as_secs_f64(),
            median(runs, |run| run.peak_kib) / 1024,
        );
    }
    Ok(verdict(&quiet, &loud, &winners.join(", ")))
}

fn verdict(quiet: &[Run], loud: &[Run], winners: &str) -> bool {
    let p99 = |run: &Run| run.waits.p99().as_secs_f64();
    let mut each: Vec<f64> = quiet.iter().zip(loud).map(|(quiet, loud)| p99(loud) / p99(quiet)).collect();
    each.sort_unstable_by(f64::total_cmp);
    let slower = median(loud, |run| run.waits.p99()).as_secs_f64() / median(quiet, |run| run.waits.p99()).as_secs_f64();
    let peak_kib = loud.iter().map(|run| run.peak_kib).max().unwrap_or_default();
    println!("\nevery agency got exactly its winners, every time: {winners}");
    println!(
        "p99 under attack is {slower:.2} times the quiet one (pairs: {:.2} to {:.2}; at most {SLOWER_MAX})",
        each[0],
        each[each.len() - 1]
    );
    println!("peak memory under attack is {} of {} MiB", peak_kib / 1024, MEMORY_MAX_KIB / 1024);
    slower <= SLOWER_MAX && peak_kib <= MEMORY_MAX_KIB
}

fn median<T: Ord + Copy>(runs: &[Run], of: impl Fn(&Run) -> T) -> T {
    let mut values: Vec<T> = runs.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

fn one_run(
    options: &Options,
    agencies: &[agency::Agency],
    certificates: Option<&Certificates>,
    hostile: usize,
) -> Result<Run, String> {
    let mut environment = agency::ENVIRONMENT.to_vec();
    if options.viewers > 0 {
        environment.push(("STATUS_ADDRESS", "127.0.0.1:0"));
    }
    environment.extend([("SERVER_LISTEN_BACKLOG", "1024"), ("STORAGE_FSYNC", &options.fsync)]);
    environment.extend(certificates.iter().flat_map(|certificates| certificates.environment()));
    let hub = Hub::start(&options.server, &environment)?;
    let others = hub.descriptors();
    let viewers = hub.status().map(|address| Viewers { address, count: options.viewers });
    let side = (hostile > 0).then(|| side::Side::start(hub.address(), hostile, viewers, options.away)).transpose()?;
    if side.as_ref().is_some_and(|side| side.peers() < hostile) {
        println!("only {} hostile peers, for want of descriptors", side.as_ref().map_or(0, side::Side::peers));
    }
    let (before, began) = (hub.usage()?, std::time::Instant::now());
    let (waits, connections) = std::thread::scope(|scope| {
        let (ended, playing) = std::sync::mpsc::channel::<()>();
        let hub = &hub;
        let counting = scope.spawn(move || {
            let mut counts = vec![hub.descriptors()];
            // Ends when the other end of the channel is gone.
            while playing.recv_timeout(COUNTING) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                counts.push(hub.descriptors());
            }
            counts.sort_unstable();
            counts[counts.len() / 2].saturating_sub(others)
        });
        let waits = agency::play(agencies, hub.address(), options.batch, options.pause);
        drop(ended);
        (waits, counting.join().unwrap_or_default())
    });
    let (waits, after, took) = (waits?, hub.usage()?, began.elapsed());
    let mut told = String::new();
    if let Some(side) = side {
        let did = side.stop()?;
        told = format!("{did}\n{}", what_the_log_says(&hub)?);
    }
    Ok(Run { waits, peak_kib: after.peak_kib, cpu: after.cpu() - before.cpu(), took, connections, told })
}

fn what_the_log_says(hub: &Hub) -> Result<String, String> {
    use std::fmt::Write;
    let (said, bytes) = hub.said()?;
    let mut table = format!("| lines | of {} MiB of the hub's log |\n|---|---|\n", bytes >> 20);
    for (count, what) in said.iter().take(SAID_SHOWN) {
        let _ = writeln!(table, "| {count} | {what} |");
    }
    if said.len() > SAID_SHOWN {
        let rest: usize = said[SAID_SHOWN..].iter().map(|(count, _)| count).sum();
        let _ = writeln!(table, "| {rest} | others |");
    }
    Ok(table)
}
