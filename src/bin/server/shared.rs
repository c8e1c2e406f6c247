//! A hub whose bets are in a PostgreSQL that it shares with other hubs.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use loteria::config::{ConfigError, Host, LookedUp, PostgresOptions, Standbys};
use loteria::hub::{Hub, OnAgencyLoss};
use loteria::limits;
use loteria::logging::{LogOutput, Value};
use loteria::lottery::Lottery;
use loteria::reactor::{Clock, EngineHost, EngineNetwork, EngineTls, StopSignals};
use loteria::storage::{HostFound, Inspection, Keep, Learned, Ledger, LedgerOptions, Password, Replicas};
use loteria::system::{host_name, run_id};
use loteria::timers::Moment;

use super::Failure;
use super::options::Options;

/// A hub over PostgreSQL, as it was opened.
pub type SharedHub = Hub<Ledger<EngineNetwork>>;

/// How often a start that waits for PostgreSQL says so.
const WAITING_SAID: Duration = Duration::from_secs(5);

/// Connects, and restores the lottery from what is stored. A signal that comes meanwhile ends it, with some error.
pub fn open(
    options: &Options,
    postgres: &PostgresOptions,
    (clock, signals, output): (&mut Clock, &StopSignals, &LogOutput),
) -> Result<SharedHub, Failure> {
    let (place, most) = (Value(postgres.place()), limits::ENGINE_START_MAX.as_secs());
    log::info!("action: engine | result: in_progress | place: {place} | reason: connecting, for {most}s at most");
    // The loop is not there yet to write it.
    output.flush();
    let until = clock.now() + limits::ENGINE_START_MAX;
    let LookedUp { found, missing } = look_up(postgres, until, (clock, signals, output))?;
    for (host, why) in missing {
        let why = Value(why);
        log::warn!(
            "action: engine | result: in_progress | host: {host} | reason: {why} | warning: the hub goes on without it until the next start"
        );
    }
    let (names, addresses) = named(found);
    let network = network(postgres, addresses)?;
    let ledger = Ledger::new(ledger_options(options, postgres, names)?, network, clock.now());
    let (ledger, learned) = wait_for(ledger, (postgres, until), (clock, signals, output))?;
    Ok(Hub::new(options.policy.clone(), restored(options, learned), ledger, clock.now()))
}

/// Looks at each host without a change, and says what it is. Each line is a comment of a configuration file.
///
/// # Errors
/// A person has to mend something, or no host leads.
pub fn inspect(options: &Options, postgres: &PostgresOptions) -> Result<(), Failure> {
    let mut clock = Clock::start();
    let LookedUp { found, missing } = postgres.look_up().map_err(Failure::Engine)?;
    let (names, addresses) = named(found);
    let mut network = network(postgres, addresses)?;
    let ledger_options = ledger_options(options, postgres, names)?;
    ledger_options.check().map_err(|error| ConfigError(error.to_string()))?;
    let mut inspection = Inspection::begin(ledger_options, &mut network, clock.now());
    while !inspection.go_on(&mut network, clock.account(Duration::MAX)) {
        network.wait(limits::ENGINE_HOST_PAUSE)?;
    }
    let mut out = std::io::stdout();
    writeln!(out, "\n# PostgreSQL, database {}, user {}:", postgres.database, postgres.user)?;
    for (host, why) in missing {
        writeln!(out, "# {host}: cannot be reached: {}", Value(why))?;
    }
    let (mut leads, mut refused) = (false, None);
    for (host, found) in inspection.hosts() {
        let said = match found {
            HostFound::Leader(what) => format!("the leader: {what}"),
            HostFound::Standby => "a standby".to_owned(),
            HostFound::Refused(error) => error.to_string(),
            HostFound::Away(why) => format!("cannot be reached: {why}"),
            HostFound::Silent => "does not answer".to_owned(),
        };
        writeln!(out, "# {host}: {}", Value(said))?;
        leads |= matches!(found, HostFound::Leader(_));
        if let HostFound::Refused(error) = found {
            refused.get_or_insert_with(|| error.clone());
        }
    }
    match refused {
        Some(error) => Err(ConfigError(format!("[POSTGRES] {error}")).into()),
        None if !leads => Err(Failure::Engine(format!("{}: no host is a leader", postgres.place()))),
        None => Ok(()),
    }
}

/// Goes on until the ledger can be used.
fn wait_for(
    mut ledger: Ledger<EngineNetwork>,
    (postgres, until): (&PostgresOptions, Moment),
    (clock, signals, output): (&mut Clock, &StopSignals, &LogOutput),
) -> Result<(Ledger<EngineNetwork>, Learned), Failure> {
    let mut say_at = clock.now() + WAITING_SAID;
    loop {
        let now = clock.account(Duration::MAX);
        ledger.go_on(now);
        say_waiting(&mut say_at, (now, until), ledger.trouble());
        output.flush();
        match ledger.opened() {
            Some(Ok(learned)) => return Ok((ledger, learned)),
            Some(Err(error)) => return Err(ConfigError(format!("[POSTGRES] {error}")).into()),
            None if now >= until || signals.came_while_opening() => {
                let why = ledger.trouble().unwrap_or("it does not answer");
                return Err(Failure::Engine(format!("{}: {why}", postgres.place())));
            }
            None => {}
        }
        let next = ledger.next_wake().map_or(limits::POLL_MAX, |at| now.until(at));
        ledger.network().wait(next.min(Duration::from_millis(100)))?;
    }
}

/// The hosts' addresses. Where no name is known, as while a machine starts, it is looked up again until then.
fn look_up(
    postgres: &PostgresOptions,
    until: Moment,
    (clock, signals, output): (&mut Clock, &StopSignals, &LogOutput),
) -> Result<LookedUp, Failure> {
    let mut say_at = clock.now() + WAITING_SAID;
    loop {
        let found = postgres.look_up();
        let now = clock.account(Duration::MAX);
        let why = match found {
            Err(why) if now < until && !signals.came_while_opening() => why,
            found => return found.map_err(Failure::Engine),
        };
        say_waiting(&mut say_at, (now, until), Some(&why));
        output.flush();
        std::thread::sleep(limits::ENGINE_RETRY);
    }
}

/// Logs, from `say_at` on and then every [`WAITING_SAID`], why the start still waits for PostgreSQL, and for how long it will.
fn say_waiting(say_at: &mut Moment, (now, until): (Moment, Moment), trouble: Option<&str>) {
    if now < *say_at {
        return;
    }
    *say_at = now + WAITING_SAID;
    let (why, left) = (Value(trouble.unwrap_or("it does not answer")), now.until(until).as_secs());
    log::warn!("action: engine | result: in_progress | reason: {why} | warning: the start is given up in {left}s");
}

fn network(postgres: &PostgresOptions, hosts: Vec<EngineHost>) -> Result<EngineNetwork, Failure> {
    let tls = postgres.tls.as_ref().map(|tls| EngineTls::load(&tls.ca, tls.own.as_ref())).transpose();
    let tls = tls.map_err(|error| ConfigError(format!("[POSTGRES] {error}")))?;
    Ok(EngineNetwork::new(hosts, tls)?)
}

/// What each host is called, and where it is.
fn named(found: Vec<(Host, SocketAddr)>) -> (Vec<String>, Vec<EngineHost>) {
    let found = found.into_iter();
    found.map(|(host, address)| (host.to_string(), EngineHost { address, name: host.name })).unzip()
}

fn ledger_options(options: &Options, postgres: &PostgresOptions, hosts: Vec<String>) -> Result<LedgerOptions, Failure> {
    Ok(LedgerOptions {
        hosts,
        database: postgres.database.clone(),
        user: postgres.user.clone(),
        password: postgres.password()?.map(Password),
        draw: postgres.draw,
        winning_number: options.winning_number,
        roster: options.roster.clone(),
        instance: run_id()?,
        name: hub_name(options.port),
        replicas: match postgres.standbys {
            Standbys::Required => Replicas::Required,
            Standbys::Trusted => Replicas::Trusted,
            Standbys::None => Replicas::None,
        },
        in_flight: postgres.in_flight,
        exclude_after: match options.policy.on_agency_loss {
            OnAgencyLoss::Wait => None,
            OnAgencyLoss::Exclude => Some(options.policy.loss_grace),
        },
    })
}

/// The hub is told from others by its machine, and by its port.
fn hub_name(port: u16) -> String {
    let machine = host_name();
    format!("{}:{port}", if machine.is_empty() { "hub" } else { &machine })
}

fn restored(options: &Options, learned: Learned) -> Lottery {
    let bets: u64 = learned.agencies.iter().map(|known| known.bets).sum();
    let (agencies, drawn) = (learned.agencies.len(), learned.drawn.is_some());
    log::info!("action: recover | result: success | bets: {bets} | agencies: {agencies} | drawn: {drawn}");
    let mut lottery = Lottery::new(options.roster.clone(), options.winning_number);
    for known in learned.agencies {
        lottery
            .learn(known.agency, known.standing, known.batches, known.bets)
            .expect("the ledger has compared the rosters");
    }
    if let Some(winners) = learned.drawn {
        lottery.learn_draw(winners);
    }
    lottery
}
