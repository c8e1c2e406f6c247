//! The server's configuration: every key, its default, and what a value must be.
//!
//! `config.ini`'s sections and keys are fixed; `docs/CONFIGURATION.md` lists them for its readers.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use loteria::config::{
    ConfigError, DEFAULT_SECTION, PostgresOptions, Settings, parse_duration, parse_size, postgres, status_socket,
};
use loteria::hub::{EarlyQuery, OnAgencyLoss, Policy};
use loteria::limits;
use loteria::logging::{Format, LogLevel};
use loteria::lottery::{AgencyId, Roster};
use loteria::reactor::proxy::Networks;
use loteria::reactor::status::StatusPlaces;
use loteria::reactor::tls::TlsFiles;
use loteria::wire::Dialect;

pub const LOTTERY: &str = "LOTTERY";
pub const STORAGE: &str = "STORAGE";
const LIMITS: &str = "LIMITS";
const TLS: &str = "TLS";
const LOG: &str = "LOG";
const STATUS: &str = "STATUS";

/// The smallest `MAX_FRAME`: what the dialects' clients send, which is up to 8 KiB, must fit.
const FRAME_BYTES_MIN: usize = 8192;

/// Everything that the operator can choose.
#[derive(Debug)]
pub struct Options {
    pub port: u16,
    pub listen_backlog: i32,
    pub logging_level: LogLevel,
    pub log: LogOptions,
    pub bind_address: IpAddr,
    /// Balancers, whose connections begin with a PROXY header.
    pub proxy_from: Networks,
    pub roster: Roster,
    pub winning_number: u32,
    pub policy: Policy,
    pub store: PathBuf,
    /// Bets are stored there, not in files.
    pub postgres: Option<PostgresOptions>,
    pub sync: bool,
    pub dead_peer_timeout: Duration,
    pub tls: Option<TlsFiles>,
    pub status: StatusPlaces,
}

/// The section `LOG`.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    pub format: Format,
    /// Each stored batch has a line.
    pub batches: bool,
}

impl Options {
    /// Where the bets are, for a person.
    pub fn place(&self) -> String {
        self.postgres.as_ref().map_or_else(|| self.store.display().to_string(), PostgresOptions::place)
    }

    /// Reads every key.
    ///
    /// # Errors
    /// The first value that is present and wrong.
    pub fn read(settings: &mut Settings) -> Result<Options, ConfigError> {
        let port = settings.get(DEFAULT_SECTION, "SERVER_PORT", "12345", number::<u16>)?;
        let name = settings.get(DEFAULT_SECTION, "SERVER_IP", "server", |text| Ok::<_, String>(text.to_owned()))?;
        let listen_backlog = settings.get(DEFAULT_SECTION, "SERVER_LISTEN_BACKLOG", "5", backlog)?;
        let logging_level = settings.get(DEFAULT_SECTION, "LOGGING_LEVEL", "INFO", level)?;
        let bind_address = settings.get(DEFAULT_SECTION, "BIND_ADDRESS", "0.0.0.0", address)?;
        let proxy_from = settings.get(DEFAULT_SECTION, "PROXY_FROM", "", Networks::parse)?;
        let roster = settings.get(LOTTERY, "AGENCIES", "5", Roster::parse)?;
        let winning_number = settings.get(LOTTERY, "WINNING_NUMBER", "7574", number::<u32>)?;
        let policy = policy(settings, &roster)?;
        let agencies = roster.ids().len();
        if agencies > policy.connections_max {
            // Their parked queries would hold every slot, and the last agencies would never come in.
            return Err(ConfigError(format!(
                "[LIMITS] MAX_CONNECTIONS = {} is less than the {agencies} agencies of [LOTTERY] AGENCIES, each of which needs a connection to wait for the draw",
                policy.connections_max
            )));
        }
        let store = settings.get(STORAGE, "PATH", "bets.csv", path)?;
        let sync =
            settings.get(STORAGE, "FSYNC", "always", |text| choice(text, &[("always", true), ("never", false)]))?;
        let postgres = postgres(settings)?;
        if let Some(postgres) = &postgres {
            check_shared(&policy, postgres)?;
        }
        let dead_peer_timeout = settings.get(LIMITS, "DEAD_PEER_TIMEOUT", "2m", dead_peer_timeout)?;
        let tls = tls(settings)?;
        let log = log(settings)?;
        let status = StatusPlaces {
            socket: settings.get(STATUS, "SOCKET", "", |text| Ok::<_, String>(status_socket(text, &store)))?,
            address: settings.get(STATUS, "ADDRESS", "", status_address)?,
            names: vec![name],
        };
        Ok(Options {
            port,
            listen_backlog,
            logging_level,
            log,
            bind_address,
            proxy_from,
            roster,
            winning_number,
            policy,
            store,
            postgres,
            sync,
            dead_peer_timeout,
            tls,
            status,
        })
    }
}

fn policy(settings: &mut Settings, roster: &Roster) -> Result<Policy, ConfigError> {
    let early = [("park", EarlyQuery::Park), ("reject", EarlyQuery::Reject)];
    let loss = [("wait", OnAgencyLoss::Wait), ("exclude", OnAgencyLoss::Exclude)];
    Ok(Policy {
        early_query: settings.get(LOTTERY, "EARLY_QUERY", "park", |text| choice(text, &early))?,
        on_agency_loss: settings.get(LOTTERY, "ON_AGENCY_LOSS", "wait", |text| choice(text, &loss))?,
        loss_grace: settings.get(LOTTERY, "LOSS_GRACE", "10s", duration)?,
        unnumbered_agencies: settings.get(LOTTERY, "UNNUMBERED_AGENCIES", "", |text| unnumbered(text, roster))?,
        connections_max: settings.get(LIMITS, "MAX_CONNECTIONS", "10000", connections)?,
        frame_bytes_max: settings.get(LIMITS, "MAX_FRAME", "1MiB", frame_bytes)?,
        handshake_timeout: settings.get(LIMITS, "HANDSHAKE_TIMEOUT", "10s", timeout)?,
        frame_timeout: settings.get(LIMITS, "FRAME_TIMEOUT", "30s", timeout)?,
        idle_timeout: settings.get(LIMITS, "IDLE_TIMEOUT", "5m", timeout)?,
        write_timeout: settings.get(LIMITS, "WRITE_TIMEOUT", "30s", timeout)?,
        echo: settings.get(LIMITS, "ECHO", "on", |text| choice(text, &[("on", true), ("off", false)]))?,
        dialects: settings.get(LIMITS, "DIALECTS", "all", dialects)?,
    })
}

/// What several hubs cannot do together.
fn check_shared(policy: &Policy, postgres: &PostgresOptions) -> Result<(), ConfigError> {
    let least = postgres.aside_after + limits::SHARED_LOSS_MARGIN;
    if policy.on_agency_loss == OnAgencyLoss::Exclude && policy.loss_grace < least {
        return Err(ConfigError(format!(
            "[LOTTERY] LOSS_GRACE = {}s: with ON_AGENCY_LOSS = exclude and [STORAGE] ENGINE = postgres it must be {}s or more, so that the agencies of a hub that has lost PostgreSQL can reach another one before they are excluded",
            policy.loss_grace.as_secs(),
            least.as_secs()
        )));
    }
    if policy.dialects.contains(&Dialect::Csv) && policy.unnumbered_agencies.is_empty() {
        return Err(ConfigError(
            "[LOTTERY] UNNUMBERED_AGENCIES is empty: with [STORAGE] ENGINE = postgres each hub needs ids of its own for the csv dialect, which names no agency; or set [LIMITS] DIALECTS without csv".to_owned(),
        ));
    }
    Ok(())
}

fn log(settings: &mut Settings) -> Result<LogOptions, ConfigError> {
    let formats = [("text", Format::Text), ("json", Format::Json)];
    let format = settings.get(LOG, "FORMAT", "text", |text| choice(text, &formats))?;
    let batches = settings.get(LOG, "BATCHES", "on", |text| choice(text, &[("on", true), ("off", false)]))?;
    Ok(LogOptions { format, batches })
}

/// Without a certificate there is no TLS; nothing else of the section makes sense then.
fn tls(settings: &mut Settings) -> Result<Option<TlsFiles>, ConfigError> {
    let file = |text: &str| Ok::<_, String>((!text.is_empty()).then(|| PathBuf::from(text)));
    let certificate = settings.get(TLS, "CERT", "", file)?;
    let key = settings.get(TLS, "KEY", "", file)?;
    let client_ca = settings.get(TLS, "CLIENT_CA", "", file)?;
    let required = settings.get(TLS, "REQUIRED", "off", |text| choice(text, &[("on", true), ("off", false)]))?;
    let needs = |key: &str, value: &str, other: &str| {
        let source = settings.source(TLS, key);
        Err(ConfigError(format!("{source}: [TLS] {key}{value} needs [TLS] {other} beside it")))
    };
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key, client_ca, required })),
        (Some(_), None) => needs("CERT", "", "KEY"),
        (None, Some(_)) => needs("KEY", "", "CERT"),
        (None, None) if client_ca.is_some() => needs("CLIENT_CA", "", "CERT"),
        (None, None) if required => needs("REQUIRED", " = on", "CERT"),
        (None, None) => Ok(None),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    let most = u64::MAX >> (64 - 8 * size_of::<T>());
    text.parse().map_err(|_| format!("must be a whole number from 0 to {most}"))
}

fn backlog(text: &str) -> Result<i32, String> {
    let value = text.parse().ok().filter(|value| *value >= 0);
    value.ok_or_else(|| "must be a whole number, not negative".to_owned())
}

fn level(text: &str) -> Result<LogLevel, String> {
    LogLevel::from_name(text).ok_or_else(|| "must be DEBUG, INFO, WARNING, ERROR or CRITICAL".to_owned())
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "must be an IPv4 or IPv6 address of this machine".to_owned())
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("must name a file".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn status_address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = text.parse().map_err(|_| "must be an IP address and a port, such as 127.0.0.1:9100".to_owned())?;
    Ok(Some(address))
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "must be a duration such as 150ms, 1.5s or 1m30s".to_owned())
}

fn timeout(text: &str) -> Result<Duration, String> {
    duration(text)?;
    duration(text).ok().filter(|value| !value.is_zero()).ok_or_else(|| "must be longer than 0s".to_owned())
}

/// The kernel counts half of it in whole seconds.
fn dead_peer_timeout(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_secs(2)..=Duration::from_secs(86_400);
    Some(duration(text)?).filter(|value| allowed.contains(value)).ok_or_else(|| "must be 2s to 24h".to_owned())
}

fn connections(text: &str) -> Result<usize, String> {
    let value = text.parse().ok().filter(|value| (1..=1_000_000).contains(value));
    value.ok_or_else(|| "must be 1 to 1000000".to_owned())
}

fn frame_bytes(text: &str) -> Result<usize, String> {
    let value = parse_size(text).filter(|bytes| (FRAME_BYTES_MIN..=limits::FRAME_BYTES_MAX).contains(bytes));
    value.ok_or_else(|| "must be a size of 8KiB to 64MiB, such as 1MiB".to_owned())
}

fn unnumbered(text: &str, roster: &Roster) -> Result<Vec<AgencyId>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    // Here a lone number is an id, not a count.
    let list = if text.contains([',', '-']) { text.to_owned() } else { format!("{text}-{text}") };
    let ids = Roster::parse(&list).map_err(|error| error.to_string())?.ids().to_vec();
    match ids.iter().find(|id| !roster.contains(**id)) {
        Some(id) => Err(format!("agency {id} is not one of AGENCIES = {roster}")),
        None => Ok(ids),
    }
}

fn dialects(text: &str) -> Result<Vec<Dialect>, String> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(Dialect::ALL.to_vec());
    }
    let spoken = |name: &str| Dialect::from_name(name.trim()).filter(|dialect| *dialect != Dialect::Echo);
    let named: Option<Vec<Dialect>> = text.split(',').map(spoken).collect();
    named.ok_or_else(|| {
        let all: Vec<&str> = Dialect::ALL.iter().filter(|it| **it != Dialect::Echo).map(|it| it.name()).collect();
        format!("must be all, or some of {}", all.join(","))
    })
}

fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" or ");
    found.map(|(_, value)| *value).ok_or_else(|| format!("must be {}", names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_of_the_library_is_that_of_an_empty_configuration() {
        let mut settings = Settings::parse("config.ini", "").unwrap();
        let policy = policy(&mut settings, &Roster::parse("5").unwrap()).unwrap();
        assert_eq!(format!("{policy:?}"), format!("{:?}", Policy::default()));
    }
}
