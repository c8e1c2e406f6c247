//! The arguments of `client`.

use std::path::PathBuf;

use clap::Parser;

const AFTER: &str = "\
Values in the environment go before those of the file: CLI_ID, CLI_SERVER_ADDRESS, CLI_MODE, CLI_PROTOCOL,
CLI_DATA, CLI_BATCH_MAXAMOUNT, CLI_LOG_LEVEL, CLI_LOOP_AMOUNT, CLI_LOOP_PERIOD, CLI_LINGER,
CLI_ANSWER_TIMEOUT, CLI_PATIENCE, CLI_TLS_CA, CLI_TLS_CERT, CLI_TLS_KEY; config.yaml says what they mean. A single
bet is given by NOMBRE, APELLIDO, DOCUMENTO, NACIMIENTO, NUMERO.

exit codes: 0 done, or ended by SIGTERM or SIGINT; 1 failed, the log says why; 2 wrong usage or configuration";

/// Plays one agency: sends its bets to the hub and tells its winners.
#[derive(Debug, Parser)]
#[command(name = "client", version, after_help = AFTER, args_override_self = true)]
#[command(help_template = loteria::arguments::HELP_TEMPLATE)]
pub struct Arguments {
    /// the configuration (config.yaml, where it is there)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
