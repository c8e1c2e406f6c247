//! The arguments of `datos`.

use std::path::PathBuf;

use clap::Parser;

const EXAMPLE: &str = "example: datos --out .data --bets 4000,3500,3000,2500,2000 --winners 2,3,1,4,0";

/// Makes agency files of invented bets, agency-1.csv to agency-N.csv: no header, CRLF,
/// first_name,last_name,document,birthdate,number. The same flags give the same bytes.
#[derive(Debug, Parser)]
#[command(name = "datos", version, after_help = EXAMPLE, args_override_self = true)]
#[command(help_template = loteria::arguments::HELP_TEMPLATE)]
#[command(override_usage = "datos --out DIR [options]\n       datos --count [--number N] FILE...")]
pub struct Arguments {
    /// where the files go; made if it is not there
    #[arg(long, value_name = "DIR", required_unless_present = "count", conflicts_with = "count")]
    pub out: Option<PathBuf>,
    /// how many files
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub agencies: u32,
    /// bets of each: 3000,2500,… ; the last value goes on for the agencies after it
    #[arg(long, value_name = "LIST", default_value = "1000", value_parser = numbers)]
    pub bets: Numbers,
    /// bets of each that are on the winning number, likewise
    #[arg(long, value_name = "LIST", default_value = "0", value_parser = numbers)]
    pub winners: Numbers,
    /// the winning number
    #[arg(long, value_name = "N", default_value_t = 7574)]
    pub number: u32,
    /// another seed, other bets
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// give some names commas and quotes; the csv dialect cannot carry the commas
    #[arg(long)]
    pub quoting: bool,
    /// count the bets and winners of these files, read as the client reads them
    #[arg(long, requires = "files")]
    pub count: bool,
    #[arg(value_name = "FILE", requires = "count", conflicts_with = "out", hide = true)]
    pub files: Vec<PathBuf>,
}

/// A number for each agency, from 1 on. The last one goes on for the agencies after it.
#[derive(Clone, Debug)]
pub struct Numbers(pub Vec<u64>);

impl Numbers {
    /// The number of agency `id`, from 1: the list's own, or its last.
    pub fn of_agency(&self, id: u32) -> u64 {
        self.0.get(id as usize - 1).or(self.0.last()).copied().unwrap_or(0)
    }
}

fn numbers(text: &str) -> Result<Numbers, String> {
    let numbers: Result<Vec<u64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    numbers.map(Numbers).map_err(|_| format!("'{text}' is not a list of numbers such as 3000,2500"))
}
