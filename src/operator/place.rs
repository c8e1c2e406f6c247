//! Where the hub's store and socket are.

use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::http::Hub;
use crate::config::{Settings, socket_beside, status_socket};

/// What the command line says about the place.
#[derive(Clone, Debug, Default)]
pub struct Where {
    /// The server's configuration; without it `config.ini` of the working directory, where it is there.
    pub config: Option<PathBuf>,
    /// The bets' file of the hub.
    pub store: Option<PathBuf>,
    /// The hub's socket.
    pub socket: Option<PathBuf>,
}

/// A store is its bets' file. Its folder is a likely slip, and has other files beside it than the store's.
///
/// # Errors
/// `store` is a folder.
pub(super) fn no_folder(store: &Path) -> Result<(), Failure> {
    if store.is_dir() {
        return Err(Failure::Usage(format!("{} is a folder: name the file of the bets in it", store.display())));
    }
    Ok(())
}

/// The store and the socket of one hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The bets' file; `None` where only a socket was named.
    pub store: Option<PathBuf>,
    /// The socket; `None` where the configuration switches it off.
    pub socket: Option<PathBuf>,
}

impl Place {
    /// The hub at the socket.
    ///
    /// # Errors
    /// There is no socket.
    pub fn hub(&self) -> Result<Hub, Failure> {
        self.socket.as_deref().map(Hub::at).ok_or(Failure::NoSocket)
    }

    /// A socket or a store that is named counts; else what the server's configuration and the environment say.
    ///
    /// # Errors
    /// A configuration that cannot be read, or a folder in the place of a store.
    pub fn find(named: &Where) -> Result<Place, Failure> {
        named.store.as_deref().map_or(Ok(()), no_folder)?;
        if let Some(socket) = &named.socket {
            return Ok(Place { store: named.store.clone(), socket: Some(socket.clone()) });
        }
        if let Some(store) = &named.store {
            return Ok(Place { socket: Some(socket_beside(store)), store: Some(store.clone()) });
        }
        let path = named.config.as_deref().unwrap_or(Path::new("config.ini"));
        let mut settings = Settings::load(path, named.config.is_some())?;
        let as_path = |text: &str| Ok::<_, String>(PathBuf::from(text));
        let store = settings.get("STORAGE", "PATH", "bets.csv", as_path)?;
        let socket = settings.get("STATUS", "SOCKET", "", |text| Ok::<_, String>(status_socket(text, &store)))?;
        Ok(Place { store: Some(store), socket })
    }
}
