//! The client's job, from a checked configuration.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::bet_reader::field_of;
use crate::config::ConfigError;
use crate::config::client::{BetVariables, ClientConfig, Mode};
use crate::lottery::{Bet, RawBet};
use crate::wire::Dialect;

/// The job of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// The echo loop.
    Echo,
    /// One bet.
    Bet {
        /// The dialect.
        dialect: Dialect,
        /// The bet.
        bet: Bet,
    },
    /// An agency's file, and its winners.
    Agency {
        /// The dialect.
        dialect: Dialect,
        /// The file.
        data: PathBuf,
    },
}

/// The dialects of agencies: all but the echo.
pub fn protocols() -> Vec<&'static str> {
    Dialect::ALL.iter().filter(|dialect| **dialect != Dialect::Echo).map(|dialect| dialect.name()).collect()
}

impl Job {
    /// The job of `config`, with the mode `auto` resolved.
    ///
    /// # Errors
    /// An invalid bet, a dialect that cannot do the job, or a data file that cannot be read.
    pub fn new(config: &ClientConfig) -> Result<Job, ConfigError> {
        let dialect = Dialect::from_name(&config.protocol)
            .ok_or_else(|| ConfigError(format!("protocol is '{}', which is not a dialect", config.protocol)))?;
        let job = Job::choose(config, dialect)?;
        if let Some(winners) = &config.winners {
            if job.mode() != Mode::Agency {
                return Err(ConfigError(format!("winners needs mode agency, and the mode is {}", job.mode().name())));
            }
            writable(winners)?;
        }
        Ok(job)
    }

    fn choose(config: &ClientConfig, dialect: Dialect) -> Result<Job, ConfigError> {
        match (config.mode, &config.bet) {
            (Mode::Auto | Mode::Bet, Some(variables)) => Job::bet(dialect, variables),
            (Mode::Agency, _) | (Mode::Auto, None) => {
                readable(&config.data)?;
                Ok(Job::Agency { dialect, data: config.data.clone() })
            }
            (Mode::Echo, _) => Ok(Job::Echo),
            (Mode::Bet, None) => Err(ConfigError("mode is bet, and the environment has no bet".to_owned())),
        }
    }

    /// The resolved mode.
    pub fn mode(&self) -> Mode {
        match self {
            Job::Echo => Mode::Echo,
            Job::Bet { .. } => Mode::Bet,
            Job::Agency { .. } => Mode::Agency,
        }
    }

    fn bet(dialect: Dialect, variables: &BetVariables) -> Result<Job, ConfigError> {
        if !dialect.client_rules().batches_answered {
            return Err(ConfigError(format!(
                "protocol is {}, which does not acknowledge batches: choose another for mode bet",
                dialect.name()
            )));
        }
        let [first, last, document, birthdate, number] =
            variables.fields.each_ref().map(|field| field.value.as_bytes());
        let raw = RawBet::from_text(first, last, document, birthdate, number);
        let bet = Bet::check(&raw).map_err(|_| refuse(variables, &raw))?;
        dialect.carries(&bet.as_raw()).map_err(|error| ConfigError(format!("environment: {error}")))?;
        Ok(Job::Bet { dialect, bet })
    }
}

/// Names every variable that breaks a rule.
fn refuse(variables: &BetVariables, bet: &RawBet<'_>) -> ConfigError {
    let broken = Bet::broken_rules(bet).filter_map(|rule| {
        let field = &variables.fields[field_of(rule)?];
        Some(format!("{} is '{}': {rule}", field.name, field.value.escape_debug()))
    });
    ConfigError(format!("environment: {}", broken.collect::<Vec<_>>().join("; ")))
}

/// Checks that the data file can be read. A file that is missing must not become another mode: an agency that
/// finished without its bets could not bet in this draw any more.
///
/// # Errors
/// The file is missing, a folder, or not readable.
fn readable(data: &Path) -> Result<(), ConfigError> {
    let refuse = |reason: &str| {
        ConfigError(format!(
            "data is '{}': {reason}; name the agency's file with --data, CLI_DATA or data in the configuration",
            data.display()
        ))
    };
    match data.metadata() {
        Ok(metadata) if metadata.is_dir() => Err(refuse("it is a folder")),
        // To open a pipe waits for its writer.
        Ok(metadata) if !metadata.is_file() => Ok(()),
        Ok(_) => File::open(data).map(drop).map_err(|error| refuse(&error.to_string())),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(refuse("there is no such file")),
        Err(error) => Err(refuse(&error.to_string())),
    }
}

/// Checks the place of the winners' file before the work begins rather than after it.
///
/// # Errors
/// The folder is missing or may not be written, or a folder has the file's name.
fn writable(winners: &Path) -> Result<(), ConfigError> {
    let folder = winners.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let wrong = |what: &str| Err(ConfigError(format!("winners is '{}': {what}", winners.display())));
    if !folder.is_dir() {
        return wrong("there is no such folder; make it, or correct the path");
    }
    if winners.is_dir() {
        return wrong("it is a folder");
    }
    access(folder, Access::WRITE_OK | Access::EXEC_OK)
        .or_else(|error| wrong(&format!("no file can be made in its folder: {}", io::Error::from(error))))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::env::VarError;

    use super::*;

    fn job(env: &[(&str, &str)]) -> Result<Job, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.yaml");
        std::fs::write(&file, "").unwrap();
        let env: HashMap<_, _> = env.iter().copied().collect();
        let read = |name: &str| env.get(name).map(|value| (*value).to_owned()).ok_or(VarError::NotPresent);
        let config = ClientConfig::load(Some(&file), &[], &read, &protocols()).map_err(|error| error.to_string())?;
        Job::new(&config).map_err(|error| error.to_string())
    }

    const BET: [(&str, &str); 5] = [
        ("NOMBRE", "Santiago Lionel"),
        ("APELLIDO", "Lorca"),
        ("DOCUMENTO", "30904465"),
        ("NACIMIENTO", "1999-03-17"),
        ("NUMERO", "7574"),
    ];

    #[test]
    fn auto_is_bet_then_agency_and_never_echo() {
        let data = tempfile::NamedTempFile::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (data, dir) = (data.path().to_str().unwrap(), dir.path().to_str().unwrap());
        let with_bet = [&BET[..], &[("CLI_DATA", data)]].concat();
        assert_eq!(job(&with_bet).unwrap().mode(), Mode::Bet);
        assert_eq!(job(&[("CLI_DATA", data)]).unwrap().mode(), Mode::Agency);
        for (mode, expected) in [("agency", Mode::Agency), ("echo", Mode::Echo), ("bet", Mode::Bet)] {
            assert_eq!(job(&[&with_bet[..], &[("CLI_MODE", mode)]].concat()).unwrap().mode(), expected);
        }
        for mode in ["auto", "agency"] {
            let said = |data: &str| job(&[("CLI_DATA", data), ("CLI_MODE", mode)]).unwrap_err();
            assert!(
                said("/nowhere/agency.csv").starts_with("data is '/nowhere/agency.csv': there is no such file; name")
            );
            assert!(said(dir).contains("it is a folder"));
            assert!(said(&format!("{data}/x")).contains("Not a directory"));
        }
        assert_eq!(job(&[("CLI_DATA", dir), ("CLI_MODE", "echo")]).unwrap().mode(), Mode::Echo);
    }

    #[test]
    fn an_invalid_bet_is_refused_with_the_name_of_its_variable() {
        for (name, value) in [
            ("NOMBRE", "=1+1"),
            ("APELLIDO", "two\nlines"),
            ("DOCUMENTO", "30.904.465"),
            ("NACIMIENTO", "17/03/1999"),
            ("CLI_NUMERO", "-1"),
        ] {
            let said = job(&[&BET[..], &[(name, value)]].concat()).unwrap_err();
            assert!(said.starts_with(&format!("environment: {name} is '")) && said.lines().count() == 1, "{said}");
        }
        let several = [&BET[..], &[("APELLIDO", "@Lorca"), ("NUMERO", "x")]].concat();
        let said = job(&several).unwrap_err();
        assert!(said.contains("APELLIDO is '@Lorca': ") && said.contains("; NUMERO is 'x': number must"), "{said}");
    }

    #[test]
    fn every_dialect_but_the_echo_is_a_protocol() {
        assert!(!protocols().contains(&"echo"));
        assert_eq!(protocols().len(), Dialect::ALL.len() - 1);
        assert!(job(&[("CLI_PROTOCOL", "echo")]).is_err());
        for protocol in protocols() {
            let dialect = Dialect::from_name(protocol).unwrap();
            let env = [&BET[..], &[("CLI_PROTOCOL", protocol)]].concat();
            assert_eq!(job(&env).is_ok(), dialect.client_rules().batches_answered, "{protocol}");
        }
    }
}
