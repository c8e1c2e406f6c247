//! `/metrics`: what is said of a known hub, and that `docs/METRICS.md` and Prometheus' own tools agree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use loteria::hub::Policy;
use loteria::limits;
use loteria::status::facts::TurnTimes;
use loteria::wire::Dialect;

use crate::SECOND;
use crate::core_kit::batch;
use crate::status_kit::{Watched, bad_batch, finish, hello, query, text};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The value of one time series.
pub fn value(watched: &mut Watched, series: &str) -> f64 {
    let response = watched.get("/metrics");
    let line = text(&response).lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {series} in\n{}", text(&response))).parse().unwrap()
}

/// A hub of which every metric says something.
fn busy() -> Watched {
    let mut watched = Watched::new(3, Policy::default());
    for (micros, committed) in [(40, true), (60, true), (2000, false)] {
        let commit = Duration::from_micros(micros);
        watched.status.turn(&TurnTimes { commit, committed, read: Duration::from_micros(10), ..TurnTimes::default() });
    }
    watched.status.viewer_dropped();
    let one = watched.agency(1, "192.0.2.7:1");
    watched.say(one, &batch(Dialect::Native, 1, 0));
    watched.say(one, &batch(Dialect::Native, 1, 1));
    watched.say(one, &finish(Dialect::Native, 1));
    watched.say(one, &query(Dialect::Native, 1));
    let two = watched.open("192.0.2.8:1");
    watched.say(two, &batch(Dialect::Binary, 2, 0));
    watched.say(two, &bad_batch(Dialect::Binary, 2));
    let refused = watched.open("192.0.2.9:1");
    watched.say(refused, &hello(99));
    watched.close(refused);
    watched.pass(SECOND);
    watched
}

#[test]
fn the_values_of_a_known_hub() {
    let mut watched = busy();
    for (series, expected) in [
        ("loteria_bets_total{agency=\"1\",dialect=\"native\"}", 2.0),
        ("loteria_batches_total{agency=\"2\",dialect=\"binary\"}", 1.0),
        ("loteria_stored_bets", 3.0),
        ("loteria_batches_rejected_total{reason=\"birthdate\"}", 1.0),
        ("loteria_requests_refused_total{reason=\"unknown_agency\"}", 1.0),
        ("loteria_draw_state{state=\"open\"}", 1.0),
        ("loteria_draw_state{state=\"drawn\"}", 0.0),
        ("loteria_agencies{state=\"parked\"}", 1.0),
        ("loteria_agencies{state=\"never_seen\"}", 1.0),
        ("loteria_parked_queries", 1.0),
        ("loteria_draw_waiting_seconds", 1.0),
        ("loteria_connections{dialect=\"native\",state=\"parked\"}", 1.0),
        ("loteria_connections_ended_total{reason=\"peer_closed\"}", 1.0),
        ("loteria_received_bytes_total", 5000.0),
        ("loteria_sent_bytes_total", 600.0),
        ("loteria_viewers", 3.0),
        ("loteria_viewers_dropped_total", 1.0),
        ("loteria_turn_seconds_count", 3.0),
        ("loteria_commit_seconds_bucket{le=\"5e-05\"}", 1.0),
        ("loteria_commit_seconds_bucket{le=\"0.0001\"}", 2.0),
        ("loteria_commit_seconds_bucket{le=\"+Inf\"}", 2.0),
        ("loteria_commit_seconds_count", 2.0),
        ("loteria_log_lines_dropped_total", 7.0),
        ("loteria_store_bytes", 1000.0),
        ("loteria_disk_free_bytes", 1_000_000.0),
        ("loteria_healthy", 1.0),
        ("loteria_certificate_expiry_timestamp_seconds", 2_000_000_000.0),
        ("loteria_start_timestamp_seconds", 1_724_278_275.0),
        ("loteria_build_info{version=\"1.2.3\"}", 1.0),
    ] {
        let got = value(&mut watched, series);
        assert!((got - expected).abs() < 1e-9, "{series} is {got}");
    }
    assert!((value(&mut watched, "loteria_commit_seconds_sum") - 1e-4).abs() < 1e-12);
}

#[test]
fn agencies_above_the_bound_are_one_series() {
    let bound = u32::try_from(limits::METRICS_AGENCIES_MAX).unwrap();
    let mut watched = Watched::new(bound + 5, Policy::default());
    for agency in [bound, bound + 1, bound + 4] {
        let id = watched.agency(agency, "192.0.2.7:1");
        watched.say(id, &batch(Dialect::Native, agency, 0));
    }
    let of = |agency: &str| format!("loteria_bets_total{{agency=\"{agency}\",dialect=\"native\"}}");
    let values = [of(&bound.to_string()), of("other")].map(|series| value(&mut watched, &series).to_string());
    assert_eq!(values, ["1", "2"]);
    let response = watched.get("/metrics");
    assert_eq!(text(&response).matches("loteria_bets_total{").count(), 2);
}

#[test]
fn the_format_is_what_the_scraper_accepts() {
    let mut watched = busy();
    assert_eq!(watched.get("/metrics").content_type, "text/plain; version=0.0.4; charset=utf-8");
    // As Prometheus asks.
    watched.accept = Some("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1");
    let open = watched.get("/metrics");
    assert_eq!(open.content_type, OPEN_METRICS);
    let open = text(&open);
    assert!(open.ends_with("\n# EOF\n"), "{open}");
    assert!(open.contains("# TYPE loteria_bets counter\n") && open.contains("# UNIT loteria_commit_seconds seconds\n"));
    assert!(open.contains("loteria_commit_seconds_bucket{le=\"+Inf\"} 2"), "{open}");
}

/// Each metric's row in the documentation: type, labels, unit and meaning.
type Rows = BTreeMap<String, (String, String, String, String)>;

fn documented() -> Rows {
    let page = fs::read_to_string("docs/METRICS.md").unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `loteria_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, kind, labels, unit, meaning] = cells.as_slice() else { panic!("{row}") };
        let plain = |text: &str| text.replace('`', "");
        (plain(name), (plain(kind), plain(labels), plain(unit), plain(meaning)))
    })
    .collect()
}

/// The same, of what is answered.
fn answered(open: &str) -> Rows {
    let mut rows = Rows::new();
    let heads = |word: &str| -> BTreeMap<String, String> {
        let lines = open.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.split_once(' '));
        lines.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
    };
    let (kinds, helps, units) = (heads("# TYPE"), heads("# HELP"), heads("# UNIT"));
    for (family, kind) in &kinds {
        let suffix = match kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let name = format!("{family}{suffix}");
        let mut labels = BTreeSet::new();
        for line in open.lines().filter(|line| line.starts_with(&format!("{name}{{"))) {
            let inside = line.split_once('{').unwrap().1.split_once('}').unwrap().0;
            labels.extend(inside.split(',').map(|label| label.split_once('=').unwrap().0));
        }
        let labels: Vec<&str> = labels.into_iter().collect();
        let or_none = |text: &str| if text.is_empty() { "–".to_owned() } else { text.to_owned() };
        let unit = units.get(family).map_or("", String::as_str);
        rows.insert(name, (kind.clone(), or_none(&labels.join(", ")), or_none(unit), helps[family].clone()));
    }
    rows
}

#[test]
fn the_documentation_has_every_metric_as_it_is() {
    let mut watched = busy();
    watched.accept = Some(OPEN_METRICS);
    let mut rows = answered(&crate::engine::metrics());
    rows.extend(answered(text(&watched.get("/metrics"))));
    let answered = rows;
    let documented = documented();
    assert!(answered.len() > 25, "{answered:#?}");
    for (name, row) in &answered {
        assert_eq!(documented.get(name), Some(row), "docs/METRICS.md on {name}");
    }
    let gone: Vec<&String> = documented.keys().filter(|name| !answered.contains_key(*name)).collect();
    assert!(gone.is_empty(), "docs/METRICS.md has {gone:?}, which the hub does not");
}

#[test]
fn the_documentation_has_every_reason() {
    let page = fs::read_to_string("docs/METRICS.md").unwrap();
    let code = fs::read_to_string("src/status/reasons.rs").unwrap();
    let code = code.split("use ").last().unwrap();
    let labels: BTreeSet<&str> = code
        .lines()
        .filter(|line| line.contains("=> \"") || line.contains("= \""))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert!(labels.len() > 25, "{labels:?}");
    for label in labels {
        assert!(page.contains(&format!("`{label}`")), "docs/METRICS.md does not say {label}");
    }
}

#[test]
fn prometheus_own_parser_takes_it() {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        eprintln!("SKIPPED: promtool is not installed (Debian's package prometheus)");
        return;
    };
    promtool.stdin.take().unwrap().write_all(&busy().get("/metrics").body).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "promtool says {said}");
}
