//! Where stored bets are read: in a store of files, or in a draw of the engine's.

use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::place::{Where, no_folder};
use crate::config::{PostgresOptions, Settings, postgres};
use crate::lottery::Roster;
use crate::storage::Reader;

/// What the configuration says of stored bets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The bets' file.
    Files(PathBuf),
    /// A draw of the engine's.
    Engine(Box<Shared>),
}

/// A draw that several hubs share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The section `POSTGRES`, and the draw's number.
    pub postgres: PostgresOptions,
    /// `[LOTTERY] WINNING_NUMBER`.
    pub winning_number: u32,
    /// `[LOTTERY] AGENCIES`.
    pub roster: Roster,
}

impl Stored {
    /// A store that is named counts; else what the server's configuration and the environment say.
    ///
    /// # Errors
    /// A configuration that cannot be read; a folder in the place of a store; a socket was named, which says nothing of a store.
    pub fn find(named: &Where) -> Result<Stored, Failure> {
        if let Some(store) = &named.store {
            no_folder(store)?;
            return Ok(Stored::Files(store.clone()));
        }
        if named.socket.is_some() && named.config.is_none() {
            return Err(Failure::Usage("--socket names no store: name it with --store".to_owned()));
        }
        let path = named.config.as_deref().unwrap_or(Path::new("config.ini"));
        let mut settings = Settings::load(path, named.config.is_some())?;
        let Some(postgres) = postgres(&mut settings)? else {
            let as_path = |text: &str| Ok::<_, String>(PathBuf::from(text));
            return Ok(Stored::Files(settings.get("STORAGE", "PATH", "bets.csv", as_path)?));
        };
        let roster = settings.get("LOTTERY", "AGENCIES", "5", Roster::parse)?;
        let number = |text: &str| text.parse().map_err(|_| "must be a whole number from 0 to 4294967295".to_owned());
        let winning_number = settings.get("LOTTERY", "WINNING_NUMBER", "7574", number)?;
        Ok(Stored::Engine(Box::new(Shared { postgres, winning_number, roster })))
    }

    /// Which draw of the engine's it is.
    pub fn draw(&self) -> Option<i32> {
        match self {
            Stored::Engine(shared) => Some(shared.postgres.draw),
            Stored::Files(_) => None,
        }
    }

    /// The draw of the engine, for a command that is for no store of files.
    ///
    /// # Errors
    /// Bets are in a store of files.
    pub fn shared(self) -> Result<Box<Shared>, Failure> {
        match self {
            Stored::Engine(shared) => Ok(shared),
            Stored::Files(_) => {
                Err(Failure::Usage("this is for [STORAGE] ENGINE = postgres, and bets are in files".to_owned()))
            }
        }
    }
}

/// Stored bets, ready to be read.
#[derive(Debug)]
pub enum Source<N: crate::storage::Waiting> {
    /// The bets' file.
    Files(PathBuf),
    /// A connection to the engine, and what a person calls the draw there.
    Engine(Box<Reader<N>>, String),
}

impl<N: crate::storage::Waiting> Source<N> {
    /// What a person calls it.
    pub fn name(&self) -> String {
        match self {
            Source::Files(store) => store.display().to_string(),
            Source::Engine(_, name) => name.clone(),
        }
    }
}
