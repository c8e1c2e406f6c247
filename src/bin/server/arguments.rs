//! The arguments of `server`.

use std::path::PathBuf;

use clap::Parser;

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed while running; 2 bad usage or configuration; 65 the stored data is damaged;
69 the address is taken, or PostgreSQL cannot be reached; 74 the disk failed, or the store's files are not as the server left them;
75 another server holds the store.";

/// Runs the lottery's hub.
#[derive(Debug, Parser)]
#[command(name = "server", version, after_help = EXIT_CODES, args_override_self = true)]
pub struct Arguments {
    /// read FILE instead of config.ini
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// the TCP port, before SERVER_PORT
    #[arg(long, value_name = "PORT")]
    pub port: Option<String>,
    #[allow(rustdoc::broken_intra_doc_links, reason = "a section of the configuration, in the help's text")]
    /// how many agencies, or their ids, before [LOTTERY] AGENCIES
    #[arg(long, value_name = "AGENCIES")]
    pub agencies: Option<String>,
    #[allow(rustdoc::broken_intra_doc_links, reason = "a section of the configuration, in the help's text")]
    /// the file of the bets, before [STORAGE] PATH
    #[arg(long, value_name = "PATH")]
    pub store: Option<String>,
    /// only read the configuration, print it as a file that can be read back, and exit; with 2 for an unknown key
    #[arg(long)]
    pub check: bool,
    /// make FOLDER with a copy of the store, which a running server may hold, and exit
    #[arg(long, value_name = "FOLDER", conflicts_with = "check")]
    pub copy: Option<PathBuf>,
    /// print what prepares a PostgreSQL database for hubs, and exit: server --schema | psql
    #[arg(long)]
    pub schema: bool,
    /// take the rows of a store whose journal is gone as they are
    #[arg(long)]
    pub adopt: bool,
}

impl Arguments {
    /// A flag that was given and makes sense with a store of files only.
    pub fn only_with_files(&self) -> Option<&'static str> {
        [("--copy", self.copy.is_some()), ("--adopt", self.adopt)]
            .iter()
            .find(|(_, given)| *given)
            .map(|(flag, _)| *flag)
    }
}
