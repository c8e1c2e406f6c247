//! The arguments of `loteria`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use loteria::logging::LogLevel;
use loteria::operator::{Format, Where};

const AFTER: &str = "\
The hub is found by its socket, which is beside its store: bets.csv.sock beside bets.csv. Without --socket and --store
the server's configuration says where: config.ini of the working directory, and the environment (STORAGE_PATH,
STATUS_SOCKET). With [STORAGE] ENGINE = postgres there, stored bets are those of [LOTTERY] DRAW in [POSTGRES].

Exit codes: 0 done; 1 failed, no hub answers, not healthy, or the bets differ; 2 bad usage or configuration; 65 the
stored data is damaged; 69 PostgreSQL cannot be reached; 74 the store cannot be read or moved; 75 a hub holds the store.";

/// Asks a running hub, and checks its store.
#[derive(Debug, Parser)]
#[command(name = "loteria", version, after_help = AFTER, args_override_self = true)]
#[command(arg_required_else_help = false)]
pub struct Arguments {
    #[command(flatten)]
    pub place: PlaceArguments,
    #[command(subcommand)]
    pub command: Command,
}

/// Where the hub is.
#[derive(Args, Debug)]
pub struct PlaceArguments {
    /// the hub whose bets are in PATH
    #[arg(long, global = true, value_name = "PATH")]
    pub store: Option<PathBuf>,
    /// the hub whose socket is PATH
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// read the server's configuration from FILE instead of config.ini
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl PlaceArguments {
    /// As the library takes it.
    pub fn named(self) -> Where {
        Where { config: self.config, store: self.store, socket: self.socket }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the draw, every agency and how the hub does, on one screen
    Status {
        /// print what the hub says, as JSON
        #[arg(long, conflicts_with = "watch")]
        json: bool,
        /// show it again every second, until Ctrl-C; lines where standard output is no terminal
        #[arg(long)]
        watch: bool,
    },
    /// List the hub's connections
    Connections {
        /// print what the hub says, as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what happens, an event a line, until Ctrl-C or the hub's end
    Events,
    /// Say why the draw has not been made: a sentence for each agency that it waits for
    Why,
    /// Print whether the hub is healthy, and exit with 0 if it is and 1 if not
    Health {
        /// whether it is ready to serve agencies
        #[arg(long)]
        ready: bool,
    },
    /// Print the winners: those of the running hub, or where none runs those that are stored
    Winners {
        /// read those that are stored, without asking the hub
        #[arg(long)]
        stored: bool,
        /// only those of agency N
        #[arg(long, value_name = "N")]
        agency: Option<u32>,
        /// print a header and a row a winner
        #[arg(long, conflicts_with = "json")]
        csv: bool,
        /// print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check stored bets without changing them: checksums, counts, batches without gaps, winners
    ///
    /// Hubs may run meanwhile. On a store of files no hub can be started until the check ends.
    #[command(long_about = None)]
    Verify {
        /// the bets' file, whose journal is beside it; without it, what the configuration says: files or PostgreSQL
        #[arg(value_name = "STORE")]
        path: Option<PathBuf>,
        /// compare every bet, in order, with the files agency-N.csv in DIR
        #[arg(long, value_name = "DIR")]
        against: Option<PathBuf>,
    },
    /// Write all stored rows into a file, as bets.csv has them; from PostgreSQL by agency and batch
    Export {
        /// the file, which must not exist; - is standard output
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Bring a store of files into a draw of PostgreSQL that has no bets, all of it or nothing
    Import {
        /// the bets' file; its journal is beside it, and no hub may use it
        #[arg(value_name = "STORE")]
        path: PathBuf,
    },
    /// Say why the draw in PostgreSQL is held, and with --yes let hubs make it
    ReleaseDraw {
        /// release it
        #[arg(long)]
        yes: bool,
    },
    /// Archive the store under a date, so that the next start of the hub makes a new one for a new draw
    ///
    /// All its files are moved, not copied, into a folder beside it: bets.csv-2026-11-28T210000Z. The command is
    /// refused while a hub runs on the store. `loteria --store FOLDER/bets.csv winners` still reads the old draw.
    #[command(long_about = None)]
    NewStore,
    /// Set the level of the hub's log until it ends
    LogLevel {
        /// DEBUG, INFO, WARNING, ERROR or CRITICAL
        #[arg(value_name = "LEVEL", value_parser = level)]
        level: LogLevel,
    },
    /// Print the completions of a shell
    Completions {
        /// bash, elvish, fish, powershell or zsh
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
}

/// The format that the flags of `winners` name.
pub fn format(csv: bool, json: bool) -> Format {
    match (csv, json) {
        (true, _) => Format::Csv,
        (false, true) => Format::Json,
        (false, false) => Format::Table,
    }
}

fn level(name: &str) -> Result<LogLevel, String> {
    LogLevel::from_name(name).ok_or_else(|| "must be DEBUG, INFO, WARNING, ERROR or CRITICAL".to_owned())
}
