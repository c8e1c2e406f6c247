//! The agency: arguments, configuration, exit code.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use loteria::agency::{Ending, Job, Tls, protocols, run};
use loteria::config::ConfigError;
use loteria::config::client::ClientConfig;
use loteria::logging::{self, LogOutput, say_on_stderr};

const HELP: &str = "\
Plays one agency: sends its bets to the hub and tells its winners.

usage: client [--config FILE]

  --config FILE  the configuration (config.yaml, where it is there)
  --version      the version
  --help         this text

Values in the environment go before those of the file: CLI_ID, CLI_SERVER_ADDRESS, CLI_MODE, CLI_PROTOCOL,
CLI_DATA, CLI_BATCH_MAXAMOUNT, CLI_LOG_LEVEL, CLI_LOOP_AMOUNT, CLI_LOOP_PERIOD, CLI_LINGER,
CLI_ANSWER_TIMEOUT, CLI_PATIENCE, CLI_TLS_CA, CLI_TLS_CERT, CLI_TLS_KEY; config.yaml says what they mean. A single
bet is given by NOMBRE, APELLIDO, DOCUMENTO, NACIMIENTO, NUMERO.

exit codes: 0 done, or ended by SIGTERM or SIGINT; 1 failed, the log says why; 2 wrong usage or configuration
";

enum Ask {
    Run { config: Option<PathBuf> },
    Print(String),
}

fn main() -> ExitCode {
    let config = match read_arguments() {
        Ok(Ask::Run { config }) => config,
        Ok(Ask::Print(text)) => {
            let _ = io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => return refuse(&format!("{error}; see client --help")),
    };
    let loaded = ClientConfig::load(config.as_deref(), &|name| std::env::var(name), &protocols());
    let checked = loaded.and_then(|config| {
        let (job, tls) = (Job::new(&config)?, Tls::load(&config)?);
        Ok((config, job, tls))
    });
    let (config, job, tls) = match checked {
        Ok(checked) => checked,
        Err(ConfigError(line)) => return refuse(&line),
    };
    let output = LogOutput::stdout();
    logging::init(config.log_level, Box::new(output.writer()));
    match run(&config, &job, tls.as_ref(), &output) {
        Ending::Done | Ending::Stopped => ExitCode::SUCCESS,
        Ending::Failed => ExitCode::from(1),
    }
}

fn read_arguments() -> Result<Ask, lexopt::Error> {
    let mut config = None;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            lexopt::Arg::Long("config") => config = Some(PathBuf::from(parser.value()?)),
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => return Ok(Ask::Print(HELP.to_owned())),
            lexopt::Arg::Long("version") | lexopt::Arg::Short('V') => {
                return Ok(Ask::Print(format!("client {}\n", env!("CARGO_PKG_VERSION"))));
            }
            lexopt::Arg::Long(_) | lexopt::Arg::Short(_) | lexopt::Arg::Value(_) => return Err(argument.unexpected()),
        }
    }
    Ok(Ask::Run { config })
}

/// One line, and the exit code of wrong usage or configuration.
fn refuse(line: &str) -> ExitCode {
    say_on_stderr(&format!("client: {}", logging::Value(line)));
    ExitCode::from(2)
}
