//! The command line of the load generator.

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use loteria::wire::Dialect;

use crate::frames::Protocol;

/// What to send, the peer, and what to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the hubs listen: connection i goes to that of i modulo how many there are.
    pub addresses: Vec<SocketAddr>,
    /// What is spoken.
    pub protocol: Protocol,
    /// A file of bets without a header: first name, last name, document, birthdate, number.
    pub data: PathBuf,
    /// Bets in all, over all connections; rounded up to whole batches of every connection.
    pub bets: u64,
    /// Bets in a batch.
    pub batch: usize,
    /// Batches that a connection may have unanswered.
    pub window: u64,
    /// Send each batch with a system call of its own, as most clients do, however many the window allows.
    pub separately: bool,
    /// Connections.
    pub connections: usize,
    /// Agencies 1 to this many; connection i speaks for agency i modulo this many, plus one.
    pub agencies: usize,
    /// Whether to finish every agency at the end, and ask for its winners.
    pub draw: bool,
    /// Connections to open after the load, one bet each, to see what an idle one costs.
    pub idle: usize,
    /// The processes whose processor time and memory are reported, in one sum.
    pub pids: Vec<String>,
    /// Print one line of JSON instead of lines for people.
    pub json: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            addresses: Vec::new(),
            protocol: Protocol::Hub(Dialect::Binary),
            data: PathBuf::new(),
            bets: 1_000_000,
            batch: 150,
            window: 64,
            separately: false,
            connections: 1,
            agencies: 1,
            draw: false,
            idle: 0,
            pids: Vec::new(),
            json: false,
        }
    }
}

/// The generator's own help.
pub const USAGE: &str = "\
load --address HOST:PORT[,HOST:PORT ...] --data FILE [options]
  --protocol NAME    a dialect of the hub, redis, or jetstream (binary)
  --bets N           in all; k, M and G are understood (1M)
  --batch N          bets in a batch (150)
  --window N         batches unanswered per connection (64)
  --separately       send each batch with a system call of its own
  --connections N    (1)
  --agencies N       (1)
  --draw             finish every agency at the end and ask for the winners
  --idle N           then open N more connections, one bet each, and report what they cost
  --pid PID[,PID]    report these processes' processor time and memory, in one sum
  --json             one line of JSON";

impl Options {
    /// Reads the command line; `None` where it asks for help.
    ///
    /// # Errors
    /// In one line.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Options>, String> {
        use lexopt::prelude::*;
        let mut parser = lexopt::Parser::from_args(arguments);
        let (mut address, mut data) = (None, None);
        let mut options = Options::default();
        while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
            match argument {
                Long("address") => address = Some(value(&mut parser)?),
                Long("protocol") => {
                    let name = value(&mut parser)?;
                    options.protocol = Protocol::from_name(&name).ok_or(format!("--protocol: no dialect '{name}'"))?;
                }
                Long("data") => data = Some(PathBuf::from(value(&mut parser)?)),
                Long("bets") => options.bets = amount("--bets", &value(&mut parser)?)?,
                Long("batch") => options.batch = count("--batch", &value(&mut parser)?)?,
                Long("window") => options.window = amount("--window", &value(&mut parser)?)?,
                Long("separately") => options.separately = true,
                Long("connections") => options.connections = count("--connections", &value(&mut parser)?)?,
                Long("agencies") => options.agencies = count("--agencies", &value(&mut parser)?)?,
                Long("draw") => options.draw = true,
                Long("idle") => options.idle = count("--idle", &value(&mut parser)?)?,
                Long("pid") => options.pids = list(&value(&mut parser)?),
                Long("json") => options.json = true,
                // `cargo bench` says --bench to every bench target.
                Long("help" | "bench") | Short('h') => return Ok(None),
                Short(_) | Long(_) | Value(_) => return Err(argument.unexpected().to_string()),
            }
        }
        let address = address.ok_or("--address is missing; --help tells the options")?;
        options.data = data.ok_or("--data is missing; --help tells the options")?;
        options.addresses = list(&address).iter().map(|address| look_up(address)).collect::<Result<_, _>>()?;
        options.check()?;
        Ok(Some(options))
    }

    /// Refuses what a dialect's own rules make impossible.
    fn check(&self) -> Result<(), String> {
        let agency_is_the_connection = match self.protocol {
            Protocol::Hub(dialect) => {
                let rules = dialect.client_rules();
                rules.exactly_once || !rules.batches_answered || dialect.name() == "csv"
            }
            Protocol::Redis => false,
            // Acknowledgements come to an agency's inbox.
            Protocol::JetStream => true,
        };
        if agency_is_the_connection && self.connections > self.agencies {
            return Err(format!(
                "--protocol {}: at most one connection an agency; raise --agencies",
                self.protocol.name()
            ));
        }
        let Protocol::Hub(dialect) = self.protocol else { return Ok(()) };
        if self.draw && self.connections < self.agencies {
            return Err("--draw: every agency needs a connection; raise --connections".to_owned());
        }
        if dialect.name() == "echo" {
            return Err("--protocol echo: it takes no bets".to_owned());
        }
        Ok(())
    }
}

/// The text that follows an option.
fn value(parser: &mut lexopt::Parser) -> Result<String, String> {
    let value = parser.value().map_err(|error| error.to_string())?;
    value.into_string().map_err(|value| format!("{}: not UTF-8", value.display()))
}

/// What stands between commas.
fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

/// The first address of a host.
fn look_up(address: &str) -> Result<SocketAddr, String> {
    let mut found = address.to_socket_addrs().map_err(|error| format!("--address {address}: {error}"))?;
    found.next().ok_or_else(|| format!("--address {address}: no such host"))
}

/// A number of at least 1, with `k`, `M` or `G` for thousands, millions and thousands of millions.
fn amount(key: &str, text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().next_back() {
        Some((at, 'k')) => (&text[..at], 1_000),
        Some((at, 'M')) => (&text[..at], 1_000_000),
        Some((at, 'G')) => (&text[..at], 1_000_000_000),
        Some(_) | None => (text, 1),
    };
    let value = digits.parse::<u64>().ok().and_then(|value| value.checked_mul(unit)).filter(|value| *value > 0);
    value.ok_or_else(|| format!("{key}: '{text}' is not a number of at least 1"))
}

fn count(key: &str, text: &str) -> Result<usize, String> {
    usize::try_from(amount(key, text)?).map_err(|_| format!("{key}: '{text}' is too large"))
}
