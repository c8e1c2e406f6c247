//! Configuration: from the environment, then the file, then the default. The error of an invalid value names its key.

pub mod client;
mod duration;
mod ini_lines;
mod misspelt;
mod postgres;
mod settings;
mod size;
mod status_socket;
mod written;

pub use duration::{format_duration, parse_duration};
pub use misspelt::{misspelt, nearest_key};
pub use postgres::{Host, LookedUp, PostgresOptions, PostgresTls, Standbys, postgres};
pub use settings::{Chosen, DEFAULT_SECTION, Settings};
pub use size::parse_size;
pub use status_socket::{socket_beside, status_socket};
pub use written::written;

/// The text without byte order marks at its start, which some editors write.
fn without_mark(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
}

/// A configuration that cannot be used: one line that names the key or the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);
