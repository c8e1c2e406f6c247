//! The first line of a hub that serves: what it is, and what it does.

use std::net::SocketAddr;

use loteria::logging::Value;
use loteria::wire::Dialect;

use super::options::Options;

/// At most so many characters of the list of agencies: it may have thousands of gaps.
const IDS_CHARACTERS_MAX: usize = 200;

/// Logs version and configuration. `status` is where the status service is found, or `off`.
pub fn log(options: &Options, address: SocketAddr, status: &str) {
    let (version, store) = (env!("CARGO_PKG_VERSION"), Value(options.place()));
    let (agencies, ids) = (options.roster.ids().len(), ids(&options.roster.to_string()));
    let (dialects, tls) = (dialects(&options.policy.dialects), tls(options));
    let status = Value(status);
    log::info!(
        "action: start | result: success | version: {version} | address: {address} | store: {store} | agencies: {agencies} | ids: {ids} | dialects: {dialects} | tls: {tls} | status: {status} | timezone: UTC"
    );
}

fn ids(roster: &str) -> String {
    let shown: String = roster.chars().take(IDS_CHARACTERS_MAX).collect();
    if shown.len() < roster.len() { shown + "…" } else { shown }
}

fn dialects(served: &[Dialect]) -> String {
    let names: Vec<&str> = served.iter().filter(|it| **it != Dialect::Echo).map(|it| it.name()).collect();
    names.join(",")
}

fn tls(options: &Options) -> &'static str {
    match &options.tls {
        None => "off",
        Some(files) if files.required => "required",
        Some(_) => "on",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_agencies_is_cut() {
        assert_eq!(ids("1-5,9"), "1-5,9");
        let long = ids(&"1,".repeat(1000));
        assert!(long.ends_with('…') && long.chars().count() == IDS_CHARACTERS_MAX + 1);
    }
}
