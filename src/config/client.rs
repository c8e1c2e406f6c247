//! The client's configuration: the command line, then the environment, then `config.yaml`, then the default.
//!
//! Defines the keys, their names in the environment, and the format of values. Never touches the network
//! or the agency's data, and knows no dialect: the caller passes the names of the protocols.

use std::env::VarError;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ConfigError, nearest_key, parse_duration};
use crate::logging::LogLevel;

mod yaml;

use yaml::Yaml;

/// The file that is read if the command line names none.
pub const DEFAULT_FILE: &str = "config.yaml";
/// The default dialect.
const DEFAULT_PROTOCOL: &str = "native";
/// The hub's address outside of containers, where the hub's port is published on the same machine.
const DEFAULT_ADDRESS: &str = "localhost:12345";
/// The variable with another default for `server.address`, which the image of the client sets. It is no
/// `CLI_SERVER_ADDRESS`, because a mounted `config.yaml` goes before a default.
const DEFAULT_ADDRESS_VARIABLE: &str = "CLI_SERVER_ADDRESS_DEFAULT";
/// The variables of a bet in the environment, with or without the prefix `CLI_`.
const BET_VARIABLES: [&str; 5] = ["NOMBRE", "APELLIDO", "DOCUMENTO", "NACIMIENTO", "NUMERO"];

/// The client's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// The agency, from 1.
    pub id: u32,
    /// The hub's host and port, as configured.
    pub server_address: String,
    /// Where the address comes from: a flag, a variable, a file, or `default`.
    pub address_from: String,
    /// How many messages the echo loop sends.
    pub loop_amount: u32,
    /// The pause between two of them.
    pub loop_period: Duration,
    /// The lowest level that is logged.
    pub log_level: LogLevel,
    /// The most bets in a batch, at least 1.
    pub batch_max_amount: u32,
    /// The mode.
    pub mode: Mode,
    /// The name of the dialect; one of the protocols passed to [`ClientConfig::load`].
    pub protocol: String,
    /// The file of the agency's bets, with `{id}` replaced.
    pub data: PathBuf,
    /// The file for the winners, CSV or JSON by its extension.
    pub winners: Option<PathBuf>,
    /// Whether an agency without bets may finish.
    pub empty: bool,
    /// Whether the data file is checked as a whole before anything is sent.
    pub check: bool,
    /// How long to stay after the work is done.
    pub linger: Duration,
    /// How long a reply may take before the connection counts as lost; not zero.
    pub answer_timeout: Duration,
    /// How long the hub may be unreachable before the client gives up.
    pub patience: Duration,
    /// The files of TLS; `None` without TLS.
    pub tls: Option<TlsPaths>,
    /// The bet of mode `bet`, if the environment has one.
    pub bet: Option<BetVariables>,
    /// Warnings about the configuration, such as unknown keys: a line each.
    pub warnings: Vec<String>,
}

/// The files of TLS, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPaths {
    /// `tls.ca`: authorities, one of which must have issued the hub's certificate.
    pub ca: PathBuf,
    /// `tls.cert` and `tls.key`: the agency's certificate and its key, for a hub that requires one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A value of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The path of the key whose value it is.
    pub key: &'static str,
    /// The flag's name, such as `--id`.
    pub name: &'static str,
    /// The value.
    pub value: String,
}

/// The client's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `Bet` if the bet's variables are set, else `Agency`.
    Auto,
    /// Sends numbered lines and reads the echoes.
    Echo,
    /// Sends the bet of the environment.
    Bet,
    /// Sends the bets of a file and queries the winners.
    Agency,
}

impl Mode {
    const ALL: [(&'static str, Mode); 4] =
        [("auto", Mode::Auto), ("echo", Mode::Echo), ("bet", Mode::Bet), ("agency", Mode::Agency)];

    /// The name in configuration and logs.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Auto => "auto",
            Mode::Echo => "echo",
            Mode::Bet => "bet",
            Mode::Agency => "agency",
        }
    }
}

/// The unchecked bet of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BetVariables {
    /// First name, last name, document, birthdate, number.
    pub fields: [Variable; 5],
}

/// A variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

impl ClientConfig {
    /// Reads the configuration. `file` is the file of the command line, which must exist; without it,
    /// [`DEFAULT_FILE`] in the working directory is read if it exists. `flags` are the values of the command line. `env`
    /// reads a variable, as [`std::env::var`] does.
    ///
    /// # Errors
    /// The first invalid value, or a file that cannot be read, in one line.
    pub fn load(
        file: Option<&Path>,
        flags: &[Flag],
        env: &dyn Fn(&str) -> Result<String, VarError>,
        protocols: &[&str],
    ) -> Result<ClientConfig, ConfigError> {
        let yaml = match file {
            Some(path) => Yaml::read(path)?,
            None => Yaml::read_if_there(Path::new(DEFAULT_FILE))?,
        };
        ClientConfig::choose(Source { flags, env, yaml }, protocols)
    }

    /// As [`load`](Self::load), of a file called `name` that holds `text`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(
        name: &Path,
        text: &str,
        env: &dyn Fn(&str) -> Result<String, VarError>,
        protocols: &[&str],
    ) -> Result<ClientConfig, ConfigError> {
        ClientConfig::choose(Source { flags: &[], env, yaml: Yaml::parse(name, text)? }, protocols)
    }

    fn choose(source: Source<'_>, protocols: &[&str]) -> Result<ClientConfig, ConfigError> {
        let positive = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
        let (server_address, address_from) = source.address()?;
        let id = source.value("id", "a number from 1 to 4294967295", positive)?.unwrap_or(1);
        let protocol = |text: &str| protocols.contains(&text).then(|| text.to_owned());
        let config = ClientConfig {
            id,
            server_address,
            address_from,
            loop_amount: source
                .value("loop.amount", "a number from 0 to 4294967295", |text| text.parse().ok())?
                .unwrap_or(5),
            loop_period: source.duration("loop.period")?.unwrap_or(Duration::from_secs(5)),
            log_level: source
                .value("log.level", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL", LogLevel::from_name)?
                .unwrap_or(LogLevel::Info),
            batch_max_amount: source.value("batch.maxAmount", "a number from 1 to 4294967295", positive)?.unwrap_or(62),
            mode: source
                .value("mode", "one of auto, echo, bet, agency", |text| {
                    Mode::ALL.iter().find(|(name, _)| *name == text).map(|(_, mode)| *mode)
                })?
                .unwrap_or(Mode::Auto),
            protocol: source
                .value("protocol", &format!("one of {}", protocols.join(", ")), protocol)?
                .unwrap_or_else(|| DEFAULT_PROTOCOL.to_owned()),
            data: source
                .value("data", "a path", |text| Some(text.to_owned()))?
                .unwrap_or_else(|| ".data/agency-{id}.csv".to_owned())
                .replace("{id}", &id.to_string())
                .into(),
            winners: source.value("winners", "a file ending in .csv or .json", winners_file)?,
            empty: source.flag("empty", false)?,
            check: source.flag("check", true)?,
            linger: source.duration("linger")?.unwrap_or(Duration::ZERO),
            answer_timeout: source
                .value("answer.timeout", "a duration such as 150ms, 5s or 1m30s, not zero", |text| {
                    parse_duration(text).filter(|timeout| !timeout.is_zero())
                })?
                .unwrap_or(Duration::from_secs(60)),
            patience: source.duration("patience")?.unwrap_or(Duration::from_secs(300)),
            tls: source.tls()?,
            bet: None,
            warnings: source.unknown_keys(),
        };
        let bet = if matches!(config.mode, Mode::Auto | Mode::Bet) { source.bet(config.mode)? } else { None };
        Ok(ClientConfig { bet, ..config })
    }

    /// The host and the port of [`server_address`](Self::server_address), without the brackets of IPv6.
    pub fn host_and_port(&self) -> (&str, u16) {
        split_address(&self.server_address).expect("the address was checked when it was read")
    }
}

/// Every key of the file, and nothing else.
const KEYS: [&str; 18] = [
    "id",
    "server.address",
    "loop.amount",
    "loop.period",
    "log.level",
    "batch.maxAmount",
    "mode",
    "protocol",
    "data",
    "winners",
    "empty",
    "check",
    "linger",
    "answer.timeout",
    "patience",
    "tls.ca",
    "tls.cert",
    "tls.key",
];

/// The names of every variable that the client reads.
pub fn variables() -> Vec<String> {
    let keys = KEYS.iter().map(|key| variable_of(key));
    let bets = BET_VARIABLES.iter().flat_map(|name| [(*name).to_owned(), format!("CLI_{name}")]);
    keys.chain([DEFAULT_ADDRESS_VARIABLE.to_owned()]).chain(bets).collect()
}

/// The variable of a key.
fn variable_of(key: &str) -> String {
    format!("CLI_{}", key.replace('.', "_").to_uppercase())
}

struct Source<'a> {
    flags: &'a [Flag],
    env: &'a dyn Fn(&str) -> Result<String, VarError>,
    yaml: Yaml,
}

impl Source<'_> {
    /// The value of `key`, which must be `what`; `None` if no flag, variable or file has it.
    fn value<T>(
        &self,
        key: &'static str,
        what: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        Ok(self.value_from(key, what, read)?.map(|(value, _)| value))
    }

    /// The value of `key`, and where it comes from.
    fn value_from<T>(
        &self,
        key: &'static str,
        what: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<(T, String)>, ConfigError> {
        assert!(KEYS.contains(&key), "a key that is read is a key that is known");
        let found = |text: &str, place: &str, name: &str| {
            let text = text.trim();
            let wrong = || ConfigError(format!("{place}{name} is '{}', not {what}", text.escape_debug()));
            read(text).ok_or_else(wrong)
        };
        if let Some(flag) = self.flags.iter().rfind(|flag| flag.key == key) {
            return Ok(Some((found(&flag.value, "", flag.name)?, flag.name.to_owned())));
        }
        let variable = variable_of(key);
        if let Some(text) = self.variable(&variable)? {
            return Ok(Some((found(&text, "environment: ", &variable)?, variable)));
        }
        let Some(text) = self.yaml.scalar(key)? else { return Ok(None) };
        Ok(Some((found(text, &format!("{}: ", self.yaml.file()), key)?, self.yaml.file().to_owned())))
    }

    /// The hub's address, and where it comes from.
    fn address(&self) -> Result<(String, String), ConfigError> {
        let read = |text: &str| address(text).then(|| text.to_owned());
        if let Some(chosen) = self.value_from("server.address", "an address such as localhost:12345", read)? {
            return Ok(chosen);
        }
        match self.variable(DEFAULT_ADDRESS_VARIABLE)? {
            Some(text) if address(text.trim()) => Ok((text.trim().to_owned(), DEFAULT_ADDRESS_VARIABLE.to_owned())),
            Some(text) => Err(ConfigError(format!(
                "environment: {DEFAULT_ADDRESS_VARIABLE} is '{}', not an address such as localhost:12345",
                text.escape_debug()
            ))),
            None => Ok((DEFAULT_ADDRESS.to_owned(), "default".to_owned())),
        }
    }

    fn flag(&self, key: &'static str, default: bool) -> Result<bool, ConfigError> {
        let read = |text: &str| text.to_ascii_lowercase().parse::<bool>().ok();
        Ok(self.value(key, "true or false", read)?.unwrap_or(default))
    }

    fn duration(&self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        self.value(key, "a duration such as 150ms, 5s or 1m30s", parse_duration)
    }

    /// The files of TLS: an authority alone, or all three.
    fn tls(&self) -> Result<Option<TlsPaths>, ConfigError> {
        let path = |key| self.value_from(key, "a path", |text| (!text.is_empty()).then(|| PathBuf::from(text)));
        match (path("tls.ca")?, path("tls.cert")?, path("tls.key")?) {
            (None, None, None) => Ok(None),
            (Some((ca, _)), None, None) => Ok(Some(TlsPaths { ca, identity: None })),
            (Some((ca, _)), Some((cert, _)), Some((key, _))) => Ok(Some(TlsPaths { ca, identity: Some((cert, key)) })),
            (None, Some((_, from)), _) | (None, None, Some((_, from))) => {
                Err(ConfigError(format!("{from}: tls.cert and tls.key need tls.ca beside them")))
            }
            (_, Some((_, from)), None) => Err(ConfigError(format!("{from}: tls.cert needs tls.key beside it"))),
            (_, None, Some((_, from))) => Err(ConfigError(format!("{from}: tls.key needs tls.cert beside it"))),
        }
    }

    /// A variable of the environment; an empty one counts as absent.
    fn variable(&self, name: &str) -> Result<Option<String>, ConfigError> {
        match (self.env)(name) {
            Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(ConfigError(format!("environment: {name} is not UTF-8"))),
        }
    }

    /// The bet of the environment: all of its variables or none.
    fn bet(&self, mode: Mode) -> Result<Option<BetVariables>, ConfigError> {
        let mut fields = Vec::new();
        let mut missing = Vec::new();
        for plain in BET_VARIABLES {
            let prefixed = format!("CLI_{plain}");
            if let Some(value) = self.variable(&prefixed)? {
                fields.push(Variable { name: prefixed, value });
            } else if let Some(value) = self.variable(plain)? {
                fields.push(Variable { name: plain.to_owned(), value });
            } else {
                missing.push(plain);
            }
        }
        if fields.is_empty() && mode == Mode::Auto {
            return Ok(None);
        }
        match <[Variable; 5]>::try_from(fields) {
            Ok(fields) => Ok(Some(BetVariables { fields })),
            Err(_) => Err(ConfigError(format!(
                "environment: {} missing: a bet needs all of its variables",
                missing.join(", ")
            ))),
        }
    }

    fn unknown_keys(&self) -> Vec<String> {
        let unknown = self.yaml.keys().filter(|key| !KEYS.contains(key));
        let told = unknown.map(|key| {
            let meant =
                nearest_key(key, KEYS.iter().copied()).map_or_else(String::new, |meant| format!("; {meant} is read"));
            format!("{}: nothing reads the key {}{meant}", self.yaml.file(), key.escape_debug())
        });
        told.collect()
    }
}

/// A path whose extension says a format of winners.
fn winners_file(text: &str) -> Option<PathBuf> {
    let path = PathBuf::from(text);
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    ["csv", "json"].contains(&extension.as_str()).then_some(path)
}

fn address(text: &str) -> bool {
    split_address(text).is_some()
}

/// `host:port` or `[IPv6]:port`.
fn split_address(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port > 0)?;
    let named = !bare.is_empty() && !bare.contains(|c: char| c.is_whitespace() || c.is_control());
    named.then_some((bare, port))
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
