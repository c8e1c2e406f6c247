//! Where the Unix socket of the status service is: the server makes it there, and `loteria` looks for it there.

use std::path::{Path, PathBuf};

/// The socket that the text of `[STATUS] SOCKET` means for the hub whose bets are in `store`: beside the store unless
/// another place is named; `off` is none.
pub fn status_socket(text: &str, store: &Path) -> Option<PathBuf> {
    match text {
        "" => Some(socket_beside(store)),
        _ if text.eq_ignore_ascii_case("off") => None,
        _ => Some(PathBuf::from(text)),
    }
}

/// `bets.csv.sock` beside `bets.csv`.
pub fn socket_beside(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".sock");
    PathBuf::from(name)
}
