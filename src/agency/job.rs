//! The client's job, from a checked configuration.

use std::path::{Path, PathBuf};

use crate::config::ConfigError;
use crate::config::client::{BetVariables, ClientConfig, Mode};
use crate::lottery::{Bet, BetError};
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
    /// An invalid bet, or a dialect that cannot do the job.
    pub fn new(config: &ClientConfig) -> Result<Job, ConfigError> {
        let dialect = Dialect::from_name(&config.protocol)
            .ok_or_else(|| ConfigError(format!("protocol is '{}', which is not a dialect", config.protocol)))?;
        match (config.mode, &config.bet) {
            (Mode::Auto | Mode::Bet, Some(variables)) => Job::bet(dialect, variables),
            (Mode::Agency, _) => Ok(Job::Agency { dialect, data: config.data.clone() }),
            (Mode::Auto, None) if is_there(&config.data) => Ok(Job::Agency { dialect, data: config.data.clone() }),
            (Mode::Auto, None) | (Mode::Echo, _) => Ok(Job::Echo),
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
        let bet = Bet::from_text(first, last, document, birthdate, number).map_err(|error| refuse(variables, error))?;
        dialect.carries(&bet.as_raw()).map_err(|error| ConfigError(format!("environment: {error}")))?;
        Ok(Job::Bet { dialect, bet })
    }
}

fn refuse(variables: &BetVariables, error: BetError) -> ConfigError {
    let index = match error {
        BetError::FirstName => 0,
        BetError::LastName => 1,
        BetError::Document => 2,
        BetError::Birthdate => 3,
        BetError::Number => 4,
        BetError::Agency | BetError::Fields | BetError::MixedAgencies => {
            return ConfigError(format!("environment: {error}"));
        }
    };
    let field = &variables.fields[index];
    ConfigError(format!("environment: {} is '{}': {error}", field.name, field.value.escape_debug()))
}

/// A directory does not count: Docker creates one as the mount of a missing file.
fn is_there(data: &Path) -> bool {
    data.metadata().is_ok_and(|metadata| !metadata.is_dir())
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
        let config = ClientConfig::load(Some(&file), &read, &protocols()).map_err(|error| error.to_string())?;
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
    fn auto_is_bet_then_agency_then_echo() {
        let data = tempfile::NamedTempFile::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (data, dir) = (data.path().to_str().unwrap(), dir.path().to_str().unwrap());
        let with_bet = [&BET[..], &[("CLI_DATA", data)]].concat();
        assert_eq!(job(&with_bet).unwrap().mode(), Mode::Bet);
        assert_eq!(job(&[("CLI_DATA", data)]).unwrap().mode(), Mode::Agency);
        assert_eq!(job(&[("CLI_DATA", "/nowhere/agency.csv")]).unwrap().mode(), Mode::Echo);
        assert_eq!(job(&[("CLI_DATA", dir)]).unwrap().mode(), Mode::Echo);
        for (mode, expected) in [("agency", Mode::Agency), ("echo", Mode::Echo), ("bet", Mode::Bet)] {
            assert_eq!(job(&[&with_bet[..], &[("CLI_MODE", mode)]].concat()).unwrap().mode(), expected);
        }
        assert_eq!(job(&[("CLI_DATA", "/nowhere/agency.csv"), ("CLI_MODE", "agency")]).unwrap().mode(), Mode::Agency);
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
