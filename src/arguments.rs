//! Command lines: what `clap` has parsed, or one line that says why it could not.

use std::io::{self, Write};

use clap::Parser;
use clap::error::{Error, ErrorKind};

/// Why a program has no arguments to work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The help or the version was asked for, and printed.
    Printed,
    /// One line without its end: what is wrong, what may have been meant, and that `--help` says more.
    Usage(String),
}

/// Help with a lower-case `usage:`, which the client and `datos` have always had.
pub const HELP_TEMPLATE: &str = "{about-with-newline}\nusage: {usage}\n\n{options}{after-help}";

/// The program's arguments. Help and version are printed to standard output.
///
/// # Errors
/// There is nothing more to do, or the usage is wrong, which is exit code 2.
pub fn parse<P: Parser>() -> Result<P, Stop> {
    P::try_parse().map_err(|error| {
        if !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            return Stop::Usage(one_line(&error));
        }
        // A reader that went away has read what it wanted.
        let _ = io::stdout().write_all(error.render().to_string().as_bytes());
        Stop::Printed
    })
}

/// A usage error in one line. clap writes paragraphs: the error, tips, the usage, and a hint at the help.
fn one_line(error: &Error) -> String {
    let text = error.render().to_string();
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let told = paragraphs.take_while(|paragraph| {
        // The paragraphs behind the error and what may have been meant.
        !["Usage:", "For more", "tip: to pass"].iter().any(|start| paragraph.starts_with(start))
    });
    let told: Vec<String> = told
        .map(|paragraph| paragraph.trim_start_matches("error: ").replace(" tip: ", "; ").replace("tip: ", ""))
        .filter(|paragraph| !paragraph.is_empty())
        .collect();
    // The standard library's words for a text that is no number.
    format!("{} (try --help)", told.join("; ").replace("invalid digit found in string", "must be a whole number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "tried")]
    struct Tried {
        #[arg(long)]
        check: bool,
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=9))]
        port: u16,
    }

    #[test]
    fn every_usage_error_is_one_line_that_names_what_is_wrong() {
        for (arguments, line) in [
            (&["--chek"][..], "unexpected argument '--chek' found; a similar argument exists: '--check' (try --help)"),
            (&[], "the following required arguments were not provided: --port <PORT> (try --help)"),
            (&["--port", "12"], "invalid value '12' for '--port <PORT>': 12 is not in 1..=9 (try --help)"),
            (&["--port", "x"], "invalid value 'x' for '--port <PORT>': must be a whole number (try --help)"),
            (&["--port"], "a value is required for '--port <PORT>' but none was supplied (try --help)"),
            (&["a"], "unexpected argument 'a' found (try --help)"),
        ] {
            let error = Tried::try_parse_from(["tried"].iter().chain(arguments)).expect_err("wrong usage");
            assert_eq!(one_line(&error), line);
        }
    }
}
