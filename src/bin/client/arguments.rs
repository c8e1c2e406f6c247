//! The arguments of `client`.

use std::path::PathBuf;

use clap::Parser;
use loteria::config::client::Flag;

const AFTER: &str = "\
A flag goes before the environment, the environment before the file: CLI_ID, CLI_SERVER_ADDRESS, CLI_MODE,
CLI_PROTOCOL, CLI_DATA, CLI_WINNERS, CLI_EMPTY, CLI_CHECK, CLI_BATCH_MAXAMOUNT, CLI_LOG_LEVEL, CLI_LOOP_AMOUNT,
CLI_LOOP_PERIOD, CLI_LINGER, CLI_ANSWER_TIMEOUT, CLI_PATIENCE, CLI_TLS_CA, CLI_TLS_CERT, CLI_TLS_KEY; config.yaml
says what they mean. A single bet is given by NOMBRE, APELLIDO, DOCUMENTO, NACIMIENTO, NUMERO. The echo loop has to be
asked for: CLI_MODE=echo.

exit codes: 0 done, or ended by SIGTERM; 1 failed, the log says why; 2 wrong usage or configuration, or no bets;
130 ended by Ctrl-C before the work was done";

/// Plays one agency: sends its bets to the hub and tells its winners.
#[derive(Debug, Parser)]
#[command(name = "client", version, after_help = AFTER, args_override_self = true)]
#[command(help_template = loteria::arguments::HELP_TEMPLATE)]
pub struct Arguments {
    /// the configuration (config.yaml, where it is there)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// the agency's number (1)
    #[arg(long, value_name = "N")]
    pub id: Option<String>,
    /// the hub (localhost:12345)
    #[arg(long, value_name = "HOST:PORT")]
    pub server: Option<String>,
    /// the agency's bets, CSV without a header (.data/agency-N.csv); implies mode agency
    #[arg(long, value_name = "FILE")]
    pub data: Option<String>,
    /// the dialect (native)
    #[arg(long, value_name = "DIALECT")]
    pub protocol: Option<String>,
    /// write the winners to FILE, CSV or JSON by its extension
    #[arg(long, value_name = "FILE")]
    pub winners: Option<String>,
    /// let an agency without bets finish
    #[arg(long)]
    pub empty: bool,
    /// send without checking the whole data file first
    #[arg(long)]
    pub no_check: bool,
    /// only check FILE: list its bad rows, exit 1 if there is one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "no_check", "winners"])]
    pub check: Option<String>,
}

impl Arguments {
    /// The values for the configuration.
    pub fn flags(&self) -> Vec<Flag> {
        let yes = |given: bool, value: &str| given.then(|| value.to_owned());
        let flags = [
            ("id", "--id", self.id.clone()),
            ("server.address", "--server", self.server.clone()),
            ("data", "--data", self.data.clone()),
            ("data", "--check", self.check.clone()),
            // A file that is named on the command line is uploaded, also where a bet or a mode is in the environment.
            ("mode", "--data", self.data.as_ref().map(|_| "agency".to_owned())),
            ("mode", "--check", self.check.as_ref().map(|_| "agency".to_owned())),
            ("protocol", "--protocol", self.protocol.clone()),
            ("winners", "--winners", self.winners.clone()),
            ("empty", "--empty", yes(self.empty, "true")),
            ("check", "--no-check", yes(self.no_check, "false")),
        ];
        flags.into_iter().filter_map(|(key, name, value)| value.map(|value| Flag { key, name, value })).collect()
    }
}
