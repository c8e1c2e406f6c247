//! `server`: the lottery's hub.
//!
//! Arguments, configuration and exit codes; everything else is the library's.

mod arguments;
mod banner;
mod options;
mod shared;

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use loteria::arguments::{Stop, parse};
use loteria::config::{ConfigError, DEFAULT_SECTION, Settings, written};
use loteria::hub::{Hub, OnAgencyLoss};
use loteria::logging::{self, LogOutput, say_on_stderr};
use loteria::lottery::Lottery;
use loteria::reactor::status::StatusService;
use loteria::reactor::tls::Tls;
use loteria::reactor::{Clock, Listener, Reactor, RunError, StopSignals, allow_connections};
use loteria::status::Status;
use loteria::status::facts::Facts;
use loteria::storage::{Keep, OpenError, OsDisk, Recovered, Store};

use arguments::Arguments;
use options::{LOTTERY, Options, STORAGE};

/// Why the server ends, and with which code.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Damaged(OpenError),
    #[error("cannot listen on {address} (SERVER_PORT, BIND_ADDRESS): {error}{}", to_listen(error))]
    Address { address: String, error: std::io::Error },
    #[error("PostgreSQL cannot be reached: {0}")]
    Engine(String),
    #[error("the store failed: {0}")]
    Disk(String),
    #[error("{0}; stop it, or name another store: --store or [STORAGE] PATH")]
    Locked(OpenError),
    #[error("{0}")]
    Running(#[from] std::io::Error),
}

/// What to do about an address that cannot be had.
fn to_listen(error: &std::io::Error) -> &'static str {
    if error.kind() == ErrorKind::AddrInUse {
        "; stop the program that has it, or choose another port: --port"
    } else {
        ""
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        match error {
            OpenError::Locked { .. } => Failure::Locked(error),
            OpenError::Damaged { .. } => Failure::Damaged(error),
            OpenError::Io { .. } => Failure::Disk(error.to_string()),
        }
    }
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Failure::Running(_) => 1,
            Failure::Usage(_) | Failure::Config(_) => 2,
            Failure::Damaged(_) => 65,
            Failure::Address { .. } | Failure::Engine(_) => 69,
            Failure::Disk(_) => 74,
            Failure::Locked(_) => 75,
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // The message may quote paths and values, and must stay one line.
            say_on_stderr(&format!("server: {}", logging::Value(&failure)));
            ExitCode::from(failure.code())
        }
    }
}

fn run() -> Result<(), Failure> {
    let arguments: Arguments = match parse() {
        Ok(arguments) => arguments,
        Err(Stop::Printed) => return Ok(()),
        Err(Stop::Usage(line)) => return Err(Failure::Usage(line)),
    };
    let path = arguments.config.as_deref().unwrap_or(Path::new("config.ini"));
    let mut settings = Settings::load(path, arguments.config.is_some())?;
    set_flags(&mut settings, &arguments);
    let options = Options::read(&mut settings)?;
    let tls = options.tls.clone().map(Tls::load).transpose().map_err(|error| ConfigError(error.to_string()))?;
    if arguments.schema {
        return Ok(std::io::stdout().write_all(loteria::storage::SCHEMA.as_bytes())?);
    }
    if options.postgres.is_none() {
        check_folder_of(&options.store)?;
    } else if let Some(flag) = arguments.only_with_files() {
        return Err(Failure::Usage(format!(
            "{flag} is for a store of files, and [STORAGE] ENGINE is postgres (try --help)"
        )));
    }
    if arguments.check {
        check(&settings, path)?;
        return options.postgres.as_ref().map_or(Ok(()), |postgres| shared::inspect(&options, postgres));
    }
    survive_file_size_limits()?;
    if let Some(folder) = arguments.copy {
        return copy(&options.store, &folder);
    }
    let output = LogOutput::stdout();
    logging::init(options.logging_level, options.log.format, Box::new(output.writer()));
    log_configuration(&settings, &options, path);
    let served = serve(&options, tls, arguments.adopt, output.clone());
    output.drain();
    served
}

/// Gives the configuration the values of the command line.
fn set_flags(settings: &mut Settings, arguments: &Arguments) {
    let flags = [
        (DEFAULT_SECTION, "SERVER_PORT", "--port", &arguments.port),
        (LOTTERY, "AGENCIES", "--agencies", &arguments.agencies),
        (STORAGE, "PATH", "--store", &arguments.store),
    ];
    for (section, key, flag, value) in flags {
        if let Some(value) = value {
            settings.set_flag(section, key, flag, value.clone());
        }
    }
}

/// A limit on the size of files is a full disk, which rejects uploads; it must not kill the server.
fn survive_file_size_limits() -> std::io::Result<()> {
    let ignored = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, ignored)?;
    Ok(())
}

fn serve(options: &Options, tls: Option<Tls>, adopt: bool, output: LogOutput) -> Result<(), Failure> {
    let signals = StopSignals::register()?;
    allow_descriptors(options);
    let clock = Clock::start();
    let address = std::net::SocketAddr::new(options.bind_address, options.port);
    let unreachable = |error| Failure::Address { address: address.to_string(), error };
    // The address first, which only one listening socket can have: with a port in use, the stored data stays
    // untouched. Peers that connect while the store is being opened wait to be accepted.
    let bound = Listener::bind(address, options.dead_peer_timeout).map_err(unreachable)?;
    let listener = bound.listen(options.listen_backlog).map_err(unreachable)?.behind(options.proxy_from.clone());
    let mut ready = Ready { listener, tls, signals, clock, output };
    if let Some(postgres) = &options.postgres {
        let opened = shared::open(options, postgres, (&mut ready.clock, &ready.signals, &ready.output));
        return ready.run(options, opened);
    }
    let opened = open(options, adopt, &ready.clock, &ready.signals);
    ready.run(options, opened)
}

/// What a hub runs on.
struct Ready {
    listener: Listener,
    tls: Option<Tls>,
    signals: StopSignals,
    clock: Clock,
    output: LogOutput,
}

impl Ready {
    /// Serves with the hub that was opened, until a signal comes.
    fn run<K: Keep>(mut self, options: &Options, opened: Result<Hub<K>, Failure>) -> Result<(), Failure> {
        if self.signals.came_while_opening() {
            // Opening a store may be cut off anywhere; the next start does it again.
            log::info!("action: close_store | result: success");
            log::info!("action: shutdown | result: success");
            return Ok(());
        }
        self.signals.opened();
        let mut hub = opened?;
        if !options.log.batches {
            hub.summarise_batches();
        }
        let Ready { listener, tls, signals, clock, output } = self;
        let status = status(options, &listener);
        let place = status.as_ref().map_or("off".to_owned(), StatusService::place);
        banner::log(options, listener.address(), &place);
        log::info!("action: listen | result: success | address: {}", listener.address());
        log::info!("action: accept_connections | result: in_progress");
        let mut reactor = Reactor::new(hub, listener, tls, signals, clock, output, status)?;
        if let Some(postgres) = &options.postgres {
            reactor = reactor.step_aside_after(postgres.aside_after);
        }
        match reactor.run() {
            Ok(()) => Ok(()),
            Err(RunError::Disk(error)) => {
                let why = logging::Value(&error);
                log::error!(target: logging::CRITICAL, "action: store | result: fail | reason: {why}, nothing more is acknowledged");
                Err(Failure::Disk(error.to_string()))
            }
            Err(RunError::Io(error)) => Err(Failure::Running(error)),
        }
    }
}

/// The status service, where it can be had: behind the store's lock, so that no other hub has its socket.
fn status(options: &Options, listener: &Listener) -> Option<StatusService> {
    let facts = Facts {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        started: std::time::SystemTime::now(),
        address: listener.address().to_string(),
        store: options.place(),
        sync: options.sync,
        tls: options.tls.is_some(),
        excludes_lost: options.policy.on_agency_loss == OnAgencyLoss::Exclude,
        connections_max: options.policy.connections_max,
        frame_bytes_max: options.policy.frame_bytes_max,
    };
    StatusService::open(Status::new(facts), &options.status, options.store.clone(), options.dead_peer_timeout)
}

/// Raises the limit of descriptors to what the connections need, and warns where it cannot be raised so far.
fn allow_descriptors(options: &Options) {
    let wanted = options.policy.connections_max;
    // Those of balancers wait for their headers beside those that have slots.
    let unannounced = if options.proxy_from.is_empty() { 0 } else { loteria::limits::UNANNOUNCED_MAX };
    let allowed = allow_connections(wanted + unannounced).saturating_sub(unannounced);
    if allowed < wanted {
        log::warn!(
            "action: config | result: in_progress | reason: the system has descriptors for {allowed} connections, MAX_CONNECTIONS = {wanted}; others wait to be accepted"
        );
    }
}

/// Opens the store, and restores the lottery from it.
fn open(options: &Options, adopt: bool, clock: &Clock, signals: &StopSignals) -> Result<Hub<Store<OsDisk>>, Failure> {
    let store_options = loteria::storage::Options {
        sync: options.sync,
        winning_number: options.winning_number,
        adopt,
        agencies: options.roster.ids().len(),
        ..Default::default()
    };
    let disk = OsDisk::new(&options.store).until(signals.opening());
    let (store, recovered) = Store::open(disk, store_options)?;
    let lottery = restore(options, recovered)?;
    Ok(Hub::new(options.policy.clone(), lottery, store, clock.now()))
}

/// Copies the store into a new folder, which is removed if the copy fails.
fn copy(store: &Path, folder: &Path) -> Result<(), Failure> {
    let failed = |doing: &str, error| Failure::Disk(format!("cannot {doing} {}: {error}", folder.display()));
    let Some(name) = store.file_name() else {
        return Err(Failure::Usage(format!("[STORAGE] PATH = {}: not a file (try --help)", store.display())));
    };
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Failure::Usage(format!("--copy {}: is there already; name a new folder", folder.display())));
        }
        made => made.map_err(|error| failed("make", error))?,
    }
    let copied = loteria::storage::copy(store, &folder.join(name)).map_err(Failure::from);
    let copied = copied.and_then(|copied| {
        // The new folder's name is durable when the folder that it is in is synced.
        let synced = loteria::storage::Disk::sync_folder(&mut OsDisk::new(folder));
        synced.map_err(|error| failed("sync the folder of", error))?;
        Ok(copied)
    });
    match copied {
        Ok(copied) => {
            let (bets, bytes) = (copied.bets, copied.rows_bytes);
            let folder = logging::Value(folder.display());
            Ok(writeln!(std::io::stdout(), "copied to {folder}: {bets} bets, {bytes} bytes of rows")?)
        }
        Err(failure) => {
            let _nothing_is_left = std::fs::remove_dir_all(folder);
            Err(failure)
        }
    }
}

/// The store's folder is not created: its name may be misspelt, and the bets would be stored in the wrong folder.
fn check_folder_of(store: &Path) -> Result<(), ConfigError> {
    let folder = store.parent().filter(|folder| !folder.as_os_str().is_empty());
    let is_there = |folder: &Path| match folder.metadata() {
        Ok(metadata) => metadata.is_dir(),
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    };
    folder.filter(|folder| !is_there(folder)).map_or(Ok(()), |folder| {
        let (store, folder) = (store.display(), folder.display());
        Err(ConfigError(format!("[STORAGE] PATH = {store}: there is no folder {folder}; make it, or correct the path")))
    })
}

fn restore(options: &Options, recovered: Recovered) -> Result<Lottery, Failure> {
    let winning_number = recovered.drawn.unwrap_or(options.winning_number);
    if winning_number != options.winning_number {
        log::warn!(
            "action: config | result: in_progress | reason: the stored draw was on number {winning_number}, WINNING_NUMBER = {} is not used",
            options.winning_number
        );
    }
    log_repairs(&recovered);
    let bets: u64 = recovered.agencies.iter().map(|(_, state)| state.bets).sum();
    if !recovered.agencies.is_empty() || recovered.drawn.is_some() {
        let drawn = recovered.drawn.is_some();
        let agencies = recovered.agencies.len();
        log::info!("action: recover | result: success | bets: {bets} | agencies: {agencies} | drawn: {drawn}");
    }
    let mut lottery = Lottery::new(options.roster.clone(), winning_number);
    for (agency, state) in recovered.agencies {
        let has = if state.bets == 0 { "the finish" } else { "bets" };
        lottery.restore(agency, state).map_err(|_| {
            let store = options.store.display();
            ConfigError(format!("[LOTTERY] AGENCIES = {}: {store} holds {has} of agency {agency}", options.roster))
        })?;
    }
    if recovered.drawn.is_some() {
        lottery.restore_drawn();
    }
    Ok(lottery)
}

/// Logs which guarantees the file system does not give, and what the start changed in the store's files.
fn log_repairs(recovered: &Recovered) {
    for what in &recovered.unkept {
        log::warn!("action: recover | result: in_progress | reason: {}", logging::Value(what));
    }
    if let Some(cut) = &recovered.discarded {
        let kept =
            cut.kept_in.as_deref().map_or("not kept, for want of space".to_owned(), |file| format!("kept in {file}"));
        log::warn!(
            "action: recover | result: in_progress | reason: an unfinished, unacknowledged turn was cut off, {} bytes of bets and {} of journal, {}",
            cut.rows_bytes,
            cut.journal_bytes,
            logging::Value(kept)
        );
    }
    if recovered.adopted_bytes > 0 {
        log::warn!(
            "action: adopt | result: success | bytes: {} | reason: finishes, exclusions and batch numbers were in the journal and are forgotten",
            recovered.adopted_bytes
        );
    }
}

/// Prints every value and where it comes from, as a configuration file.
///
/// # Errors
/// The file has keys that the server does not know, or the environment has variables that look misspelt.
fn check(settings: &Settings, path: &Path) -> Result<(), Failure> {
    std::io::stdout().write_all(written(settings.chosen()).as_bytes())?;
    let misspelt = misspelt(settings).into_iter();
    let misspelt = misspelt.map(|(name, meant)| format!("{name} is not a variable of this program, {meant} is"));
    let misspelt: Vec<String> = misspelt.collect();
    let unknown = unknown(settings, |meant| format!(", {meant} is"));
    let unknown: Vec<String> = unknown.map(|(key, hint)| format!("{key} is not a key of this program{hint}")).collect();
    let wrong: Vec<String> = [(path.display().to_string(), unknown), ("environment".to_owned(), misspelt)]
        .into_iter()
        .filter(|(_, wrong)| !wrong.is_empty())
        .map(|(place, wrong)| format!("{place}: {}", wrong.join("; ")))
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(ConfigError(wrong.join("; ")))? }
}

/// The file's keys that the server does not know, each with a hint: that it is a key of the other engine, or which key may be
/// meant, as `told` says it.
fn unknown<'a>(
    settings: &'a Settings,
    told: impl Fn(String) -> String + 'a,
) -> impl Iterator<Item = (String, String)> + 'a {
    settings.unknown_and_meant().into_iter().map(move |(key, meant)| {
        let hint = match meant {
            _ if settings.needs_postgres(&key) => " without [STORAGE] ENGINE = postgres".to_owned(),
            Some(meant) => told(meant),
            None => String::new(),
        };
        (key, hint)
    })
}

/// Variables of the environment that look misspelt, each with the nearest one that the server reads.
fn misspelt(settings: &Settings) -> Vec<(String, String)> {
    settings.misspelt(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
}

fn log_configuration(settings: &Settings, options: &Options, path: &Path) {
    log::debug!(
        "action: config | result: success | port: {} | listen_backlog: {} | logging_level: {}",
        options.port,
        options.listen_backlog,
        options.logging_level
    );
    if options.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some() && !tls.required) {
        log::warn!(
            "action: config | result: in_progress | reason: [TLS] CLIENT_CA without REQUIRED = on, peers without TLS may speak for any agency"
        );
    }
    for (key, hint) in unknown(settings, |meant| format!("; {meant} is known")) {
        let (file, key) = (logging::Value(path.display()), logging::Value(key));
        log::warn!("action: config | result: in_progress | file: {file} | reason: unknown key {key}{hint}");
    }
    for (name, meant) in misspelt(settings) {
        let name = logging::Value(name);
        log::warn!(
            "action: config | result: in_progress | reason: the environment has {name}, which is no variable of this program; {meant} is"
        );
    }
}
