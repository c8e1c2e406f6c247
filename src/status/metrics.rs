//! `/metrics`: the same, as families of time series for Prometheus. `docs/METRICS.md` describes each.
//!
//! The formats are those of `prometheus-client`: OpenMetrics 1.0 for those who ask for it, as Prometheus does, and the older
//! text format 0.0.4 for all others, such as `curl` and `promtool check metrics`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::assemble::{Latencies, agency_state, connection_state, draw_state};
use super::facts::Facts;
use super::latency::Durations;
use super::reasons::Reasons;
use super::report::{AgencyState, ConnectionState, DrawState};
use super::snapshot::{Snapshot, unhealthy};
use super::tally::{Count, Tally};
use crate::limits;
use crate::storage::{EngineView, InstanceView};
use crate::timers::Moment;
use crate::wire::Dialect;

/// Which of the text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format 0.0.4 of Prometheus.
    Text,
}

impl Format {
    /// The format that a header `Accept` asks for.
    pub fn accepted(accept: Option<&str>) -> Format {
        let open = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        if open { Format::OpenMetrics } else { Format::Text }
    }

    /// Its `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// The name of a label, and its value.
type Label = (&'static str, Cow<'static, str>);

/// A value.
#[derive(Debug)]
enum Value {
    Count(u64),
    Gauge(f64),
    Info(Label),
    Durations { sum: f64, count: u64, buckets: Vec<(f64, u64)> },
}

/// What all time series of one name have in common. The name is without unit and suffix, which the encoder appends.
#[derive(Debug)]
struct Family {
    name: &'static str,
    unit: Option<Unit>,
    help: &'static str,
    samples: Vec<(Vec<Label>, Value)>,
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in self.0.iter().filter(|family| !family.samples.is_empty()) {
            let kind = family.samples[0].1.kind();
            let mut metric = encoder.encode_descriptor(family.name, family.help, family.unit.as_ref(), kind)?;
            for (labels, value) in &family.samples {
                if labels.is_empty() {
                    value.encode(&mut metric)?;
                } else {
                    value.encode(&mut metric.encode_family(labels)?)?;
                }
            }
        }
        Ok(())
    }
}

impl Value {
    fn kind(&self) -> MetricType {
        match self {
            Value::Count(_) => MetricType::Counter,
            Value::Gauge(_) => MetricType::Gauge,
            Value::Info(_) => MetricType::Info,
            Value::Durations { .. } => MetricType::Histogram,
        }
    }

    fn encode(&self, metric: &mut MetricEncoder<'_>) -> fmt::Result {
        match self {
            Value::Count(count) => metric.encode_counter::<NoLabelSet, _, u64>(count, None),
            Value::Gauge(value) => metric.encode_gauge(value),
            Value::Info(label) => metric.encode_info(&std::slice::from_ref(label)),
            Value::Durations { sum, count, buckets } => {
                metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
            }
        }
    }
}

/// The metrics, in `format`.
pub fn metrics(facts: &Facts, snapshot: &Snapshot, tally: &Tally, latencies: &Latencies, format: Format) -> String {
    let mut families = of_bets(snapshot, tally);
    families.extend(of_draw(snapshot, tally));
    families.extend(of_connections(facts, snapshot, tally));
    families.extend(of_loop(snapshot, latencies));
    families.extend(of_engine(snapshot));
    families.extend(of_program(facts, snapshot, tally.store_is_full()));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families)));
    let mut out = String::new();
    // A text in memory takes whatever is written to it.
    let _ = match format {
        Format::OpenMetrics => text::encode(&mut out, &registry),
        Format::Text => prometheus_text::encode(&mut out, &registry),
    };
    out
}

fn of_bets(snapshot: &Snapshot, tally: &Tally) -> Vec<Family> {
    let mut series: BTreeMap<(Option<u32>, usize), Count> = BTreeMap::new();
    for (place, view) in snapshot.overview.agencies.iter().enumerate() {
        let Some(of_agency) = tally.agency(view.id) else { continue };
        // By its place in the roster, which does not change: no agency moves to the others while it is counted.
        let agency = (place < limits::METRICS_AGENCIES_MAX).then_some(view.id.0);
        for (dialect, count) in of_agency.by_dialect.iter().enumerate().filter(|(_, count)| count.batches > 0) {
            series.entry((agency, dialect)).or_default().add(*count);
        }
    }
    let labels = |(agency, dialect): &(Option<u32>, usize)| {
        let agency = agency.map_or(Cow::Borrowed("other"), |id| Cow::Owned(id.to_string()));
        vec![("agency", agency), ("dialect", Cow::Borrowed(Dialect::name_of(Dialect::ALL.get(*dialect).copied())))]
    };
    let of = |field: fn(&Count) -> u64| {
        series.iter().map(|(key, count)| (labels(key), Value::Count(field(count)))).collect::<Vec<_>>()
    };
    let stored = snapshot.overview.agencies.iter().map(|view| view.bets).sum();
    vec![
        family("loteria_bets", "Bets stored since the start.", of(|count| count.bets)),
        family("loteria_batches", "Batches stored since the start.", of(|count| count.batches)),
        gauge("loteria_stored_bets", "Bets in the store, those of earlier runs included.", stored),
        reasons("loteria_batches_rejected", "Batches that were rejected.", &tally.rejected),
        reasons("loteria_requests_refused", "Requests other than batches that were refused.", &tally.refused),
    ]
}

fn of_draw(snapshot: &Snapshot, tally: &Tally) -> Vec<Family> {
    let state = draw_state(snapshot);
    let draw = [("none", DrawState::None), ("open", DrawState::Open), ("drawn", DrawState::Drawn)];
    let draw = draw.map(|(name, each)| (vec![label("state", name)], truth(each == state)));
    let mut by_state = [0_u64; AgencyState::ALL.len()];
    snapshot.overview.agencies.iter().for_each(|view| by_state[agency_state(view, tally) as usize] += 1);
    let agencies = AgencyState::ALL
        .map(|state| (vec![label("state", state.name())], Value::Gauge(by_state[state as usize] as f64)));
    vec![
        family("loteria_draw_state", "Where the draw stands: 1 at its state, 0 at the others.", draw.into()),
        family("loteria_agencies", "Agencies of the draw, by what they are doing.", agencies.into()),
        gauge("loteria_parked_queries", "Queries that wait for the draw.", snapshot.parked() as u64),
        Family {
            unit: Some(Unit::Seconds),
            ..real(
                "loteria_draw_waiting",
                "For how long the oldest query has waited for the draw; 0 where none waits.",
                snapshot.parked_for().unwrap_or_default().as_secs_f64(),
            )
        },
    ]
}

fn of_connections(facts: &Facts, snapshot: &Snapshot, tally: &Tally) -> Vec<Family> {
    let gauges = &snapshot.gauges;
    let known = snapshot.overview.connections.iter();
    let known = known.map(|((dialect, activity), count)| (*dialect, connection_state(*activity), *count));
    let unannounced = (gauges.unannounced > 0).then_some((None, ConnectionState::Unannounced, gauges.unannounced));
    let open = known.chain(unannounced).map(|(dialect, state, count)| {
        let labels = vec![label("dialect", Dialect::name_of(dialect)), label("state", state.name())];
        (labels, Value::Gauge(count as f64))
    });
    vec![
        family("loteria_connections", "Open connections of agencies and unknown peers.", open.collect()),
        gauge(
            "loteria_connections_max",
            "Connections that there may be: MAX_CONNECTIONS.",
            facts.connections_max as u64,
        ),
        reasons(
            "loteria_connections_ended",
            "Connections that ended, by why the hub ended them, if it did.",
            &tally.ended,
        ),
        bytes(counter("loteria_received", "Bytes from agencies' sockets.", gauges.bytes_in)),
        bytes(counter("loteria_sent", "Bytes to agencies' sockets.", gauges.bytes_out)),
        bytes(gauge("loteria_buffered", "Bytes of all connections' buffers.", snapshot.overview.buffered_bytes as u64)),
        gauge("loteria_viewers", "Connections at the status service.", gauges.viewers as u64),
        counter("loteria_viewers_dropped", "Viewers dropped because they did not read.", tally.viewers_dropped),
        counter("loteria_events_dropped", "Events that were too many in one second for /events.", tally.feed.dropped()),
    ]
}

fn of_loop(snapshot: &Snapshot, latencies: &Latencies) -> Vec<Family> {
    let lines_dropped = snapshot.gauges.log_lines_dropped;
    vec![
        durations("loteria_turn", "How long turns of the loop take, without waiting.", &latencies.turns),
        durations(
            "loteria_commit",
            "How long commits take that write. With PostgreSQL there are none: the loop does not wait for them.",
            &latencies.commits,
        ),
        counter("loteria_log_lines_dropped", "Lines of the log that were dropped.", lines_dropped),
    ]
}

/// Nothing with a store of files.
fn of_engine(snapshot: &Snapshot) -> Vec<Family> {
    let Some((engine, trouble)) = &snapshot.engine else { return Vec::new() };
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let mut families = vec![
        gauge("loteria_engine_connected", "1 while turns can be sent to PostgreSQL.", engine.connected.into()),
        gauge("loteria_engine_in_trouble", "1 while PostgreSQL cannot be used.", trouble.is_some().into()),
        gauge(
            "loteria_engine_turns_in_flight",
            "Turns that PostgreSQL has not committed yet.",
            engine.turns_in_flight as u64,
        ),
        counter("loteria_engine_turn", "Turns of this hub that PostgreSQL has committed.", count(engine.turn)),
        counter(
            "loteria_engine_reconnections",
            "Connections to PostgreSQL after the first one.",
            count(engine.epoch - 1),
        ),
        gauge("loteria_draw_held", "1 while the draw is held: a person has to look.", engine.held.is_some().into()),
        gauge(
            "loteria_hubs",
            "Hubs that PostgreSQL has seen within a minute, this one among them.",
            hubs(engine, snapshot.now),
        ),
    ];
    if let Some(at) = engine.answered_at {
        let age =
            real("loteria_engine_answer", "Since PostgreSQL last answered.", at.until(snapshot.now).as_secs_f64());
        families.push(Family { unit: Some(Unit::Seconds), ..age });
    }
    families
}

/// How many hubs store in the engine: one that runs is seen every second.
fn hubs(engine: &EngineView, now: Moment) -> u64 {
    let runs = |seen: &&InstanceView| seen.seen_ago + seen.read_at.until(now) < limits::ENGINE_HUB_GONE;
    engine.instances.iter().filter(runs).count() as u64
}

fn of_program(facts: &Facts, snapshot: &Snapshot, full: bool) -> Vec<Family> {
    let gauges = &snapshot.gauges;
    let started = facts.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let healthy = unhealthy(gauges, full).is_none();
    let seconds = |family| Family { unit: Some(Unit::Seconds), ..family };
    let optional = |name, help, value: Option<u64>| {
        value.map_or_else(|| family(name, help, Vec::new()), |value| gauge(name, help, value))
    };
    let version = Value::Info(label("version", facts.version));
    vec![
        bytes(optional("loteria_store", "Bytes of the bets' file, where the system says.", gauges.store_bytes)),
        bytes(optional(
            "loteria_disk_free",
            "Free bytes of the store's file system, where the system says.",
            gauges.disk_free_bytes,
        )),
        gauge("loteria_store_full", "1 while batches are rejected for want of space.", full.into()),
        gauge("loteria_healthy", "1 where /healthz answers 200.", healthy.into()),
        seconds(optional(
            "loteria_certificate_expiry_timestamp",
            "When the certificate ends, since the Unix epoch, where there is one.",
            gauges.certificate_expiry,
        )),
        seconds(real("loteria_start_timestamp", "When the hub started, since the Unix epoch.", started.as_secs_f64())),
        family("loteria_build", "The version of the hub.", vec![(Vec::new(), version)]),
    ]
}

fn label(name: &'static str, value: &'static str) -> Label {
    (name, Cow::Borrowed(value))
}

fn truth(value: bool) -> Value {
    Value::Gauge(f64::from(u8::from(value)))
}

fn family(name: &'static str, help: &'static str, samples: Vec<(Vec<Label>, Value)>) -> Family {
    Family { name, unit: None, help, samples }
}

fn counter(name: &'static str, help: &'static str, count: u64) -> Family {
    family(name, help, vec![(Vec::new(), Value::Count(count))])
}

fn gauge(name: &'static str, help: &'static str, value: u64) -> Family {
    real(name, help, value as f64)
}

fn real(name: &'static str, help: &'static str, value: f64) -> Family {
    family(name, help, vec![(Vec::new(), Value::Gauge(value))])
}

fn bytes(family: Family) -> Family {
    Family { unit: Some(Unit::Bytes), ..family }
}

fn reasons(name: &'static str, help: &'static str, reasons: &Reasons) -> Family {
    let samples = reasons.iter().map(|(reason, count)| (vec![label("reason", reason)], Value::Count(*count)));
    family(name, help, samples.collect())
}

fn durations(name: &'static str, help: &'static str, durations: &Durations) -> Family {
    let (sum, count) = (durations.sum().as_secs_f64(), durations.count());
    let value = Value::Durations { sum, count, buckets: durations.buckets() };
    Family { unit: Some(Unit::Seconds), ..family(name, help, vec![(Vec::new(), value)]) }
}
