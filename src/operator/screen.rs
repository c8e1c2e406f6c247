//! The hub's reports as lines of text.

use super::text::{bytes, clean, counted, grouped, micros, rate, seconds};
use crate::status::report::{Agency, AgencyState, ConnectionList, DrawState, Engine, Instance, Latency, Report};

/// The names of a report's lines take so many characters, and so does the indent of lines that go on.
const NAME_COLUMNS: usize = 8;

/// A report in at most `rows` lines of at most `columns` characters. Long lines are broken, and the table of agencies has
/// the columns that there is width for. Agencies that do not fit are counted: where there are any, those that the draw
/// waits for come first, and of these those that have been seen.
pub(super) fn of_report(report: &Report, columns: usize, rows: usize) -> Vec<String> {
    let mut lines: Vec<String> = summary(report).iter().flat_map(|line| broken(line, columns, NAME_COLUMNS)).collect();
    let left_out = report.agencies_left_out;
    let space = rows.saturating_sub(lines.len() + 1);
    let shown = if report.agencies.len() <= space && left_out == 0 { space } else { space.saturating_sub(1) };
    let mut agencies: Vec<&Agency> = report.agencies.iter().collect();
    if agencies.len() > shown {
        agencies.sort_by_key(|agency| (!is_waited_for(agency.state), agency.state == AgencyState::NeverSeen));
    }
    if !agencies.is_empty() {
        let cells: Vec<[String; 8]> = agencies.into_iter().take(shown).map(agency).collect();
        lines.extend(table(&cells, columns));
    }
    let others = report.agencies.len().saturating_sub(shown) + left_out;
    if others > 0 {
        lines.push(format!("   … and {others} more"));
    }
    lines.truncate(rows);
    lines.into_iter().map(|line| clip(&line, columns)).collect()
}

/// Whether the draw waits for an agency of this state.
fn is_waited_for(state: AgencyState) -> bool {
    match state {
        AgencyState::NeverSeen
        | AgencyState::Gone
        | AgencyState::Connected
        | AgencyState::Uploading
        | AgencyState::NotHere
        | AgencyState::Lost => true,
        AgencyState::Finished | AgencyState::Parked | AgencyState::Excluded => false,
    }
}

/// The report in one line, for a program or a file that reads on.
pub(super) fn line_of_report(report: &Report) -> String {
    let (bets, speed) = (grouped(report.totals.bets_stored), rate(report.bets_per_second));
    let (connections, draw) = (report.connections.open, draw(report));
    let health = report.unhealthy.as_deref().unwrap_or("healthy");
    clean(format!("{} bets: {bets} {speed}; connections: {connections}; draw: {draw}; {health}", report.hub.now))
}

/// The PostgreSQL that several hubs share, and the other hubs.
fn engine(engine: &Engine) -> Vec<String> {
    let host = engine.host.as_ref().map(|host| format!(" {host}")).unwrap_or_default();
    let state = match (engine.connected, engine.trouble_for) {
        (true, None) => "connected".to_owned(),
        (false, None) => "not connected".to_owned(),
        (_, Some(trouble)) => format!("IN TROUBLE for {}", seconds(trouble)),
    };
    let answered = engine.answered_ago.map(|ago| format!(", answered {} ago", seconds(ago))).unwrap_or_default();
    let (draw, epoch, turn) = (engine.draw, engine.epoch, grouped_number(engine.turn));
    let flight = engine.turns_in_flight;
    let mut lines = vec![format!(
        "engine  {}{host} {state}{answered}; draw {draw}, epoch {epoch}, turn {turn}, {flight} in flight",
        engine.kind
    )];
    if engine.held {
        let why = engine.held_because.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        lines.push(format!("        THE DRAW IS HELD{why}"));
    }
    let hub = |instance: &Instance| {
        let here = if instance.here { " (this one)" } else { "" };
        let (seen, turns) = (seconds(instance.seen_ago), grouped_number(instance.turns));
        format!("{}{here} seen {seen} ago, turn {turns}", instance.name)
    };
    if !engine.instances.is_empty() {
        lines.push(format!("hubs    {}", engine.instances.iter().map(hub).collect::<Vec<_>>().join("; ")));
    }
    lines.into_iter().map(clean).collect()
}

/// Numbers of turns are never negative.
fn grouped_number(number: i64) -> String {
    grouped(number.unsigned_abs())
}

fn summary(report: &Report) -> Vec<String> {
    let Report { hub, totals, connections, store, .. } = report;
    #[allow(clippy::cast_precision_loss, reason = "seconds since the start")]
    let uptime = seconds(hub.uptime as f64);
    let tls = if hub.tls { ", TLS" } else { "" };
    let log = hub.log_level.as_ref().map(|level| format!(", log {level}")).unwrap_or_default();
    let health = match (&report.unhealthy, &report.not_ready) {
        (None, None) => "healthy and ready".to_owned(),
        (None, Some(why)) => format!("healthy; not ready: {}", report.trouble.as_ref().unwrap_or(why)),
        (Some(why), _) => format!("NOT HEALTHY: {why}"),
    };
    let states: Vec<String> = connections
        .by_state
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(state, count)| format!("{count} {}", state.name()))
        .collect();
    let states = if states.is_empty() { String::new() } else { format!(" ({})", states.join(", ")) };
    let free = store.disk_free_bytes.map(|free| format!(", {} free", bytes(free))).unwrap_or_default();
    let size = store.bytes.map(|size| format!(", {}", bytes(size))).unwrap_or_default();
    let full = if store.full { ", FULL: batches are rejected" } else { "" };
    let sync = if store.sync { "" } else { ", without sync" };
    let viewers = counted(connections.viewers as u64, "viewer", "viewers");
    let path = store.path.as_deref().unwrap_or("-");
    let mut lines = vec![
        format!("hub     {} {}, pid {}, up {uptime}{tls}{log}   {}", hub.version, hub.address, hub.pid, hub.now),
        format!("health  {health}"),
        format!("draw    {}", draw(report)),
        format!(
            "bets    {} stored, {}; this run: {}, {} rejected, {} refused",
            grouped(totals.bets_stored),
            rate(report.bets_per_second),
            counted(totals.batches, "batch", "batches"),
            grouped(totals.rejected),
            grouped(totals.refused)
        ),
        format!("peers   {} of {}{states}, {viewers}", connections.open, hub.connections_max),
        format!("turns   {}", latency(&report.turns)),
    ];
    // The loop does not wait for the commits of PostgreSQL, so that none is timed.
    if report.engine.is_none() {
        lines.push(format!("commits {}", latency(&report.commits)));
    }
    lines.push(format!("store   {path}{size}{free}{sync}{full}"));
    let mut lines: Vec<String> = lines.into_iter().map(clean).collect();
    lines.extend(report.engine.iter().flat_map(engine));
    lines.push(String::new());
    lines
}

/// Where the draw stands, in a few words.
fn draw(report: &Report) -> String {
    let draw = &report.draw;
    match draw.state {
        DrawState::None => "none: the roster is empty".to_owned(),
        DrawState::Drawn => {
            let ago = draw.drawn_ago.map_or("in an earlier run".to_owned(), |ago| format!("{} ago", seconds(ago)));
            let number = draw.winning_number.map(|number| format!(" on number {number}")).unwrap_or_default();
            let winners =
                draw.winners.map(|winners| format!(": {}", counted(winners, "winner", "winners"))).unwrap_or_default();
            format!("made{number}, {ago}{winners}")
        }
        DrawState::Open => {
            let named: Vec<String> = draw.waiting_for.iter().take(12).map(u32::to_string).collect();
            let more = if draw.waiting_count > named.len() { ",…" } else { "" };
            let agencies = counted(draw.waiting_count as u64, "agency", "agencies");
            let parked = match (draw.parked, draw.waiting_since) {
                (0, _) => String::new(),
                (parked, None) => format!("; {}", counted(parked as u64, "query waits", "queries wait")),
                (parked, Some(since)) => {
                    let queries = counted(parked as u64, "query waits", "queries wait, the oldest");
                    format!("; {queries} for {}", seconds(since))
                }
            };
            if report.excludes_all() {
                return "not made, every agency is excluded".to_owned();
            }
            if draw.waiting_count == 0 {
                return format!("due, every agency has finished{parked}");
            }
            format!("waits for {agencies}: {}{more}{parked}", named.join(","))
        }
    }
}

fn latency(latency: &Latency) -> String {
    let Latency { count, p50, p99, max } = *latency;
    format!("{}: p50 {}, p99 {}, max {}", grouped(count), micros(p50), micros(p99), micros(max))
}

fn agency(agency: &Agency) -> [String; 8] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let state = match (agency.state, agency.lost_for) {
        (AgencyState::Lost, Some(lost)) => format!("lost {}", seconds(lost)),
        (state, _) => state.name().replace('_', " "),
    };
    [
        agency.id.to_string(),
        state,
        grouped(agency.bets),
        rate(agency.bets_per_second),
        or_dash(agency.last_heard.map(seconds)),
        or_dash(agency.dialect.clone()),
        or_dash(agency.winners.map(grouped)),
        or_dash(agency.peer.clone()),
    ]
    .map(clean)
}

/// A header, and a line for each agency: aligned as in every report where they fit, else as narrow as the values are.
fn table(agencies: &[[String; 8]], columns: usize) -> Vec<String> {
    let header = ["agency", "state", "bets", "rate", "heard", "dialect", "winners", "peer"];
    let rows = agencies.iter().map(|cells| cells.each_ref().map(String::as_str));
    let lines: Vec<String> = std::iter::once(header).chain(rows).map(agency_row).collect();
    if lines.iter().all(|line| line.chars().count() <= columns) { lines } else { narrow_table(agencies, columns) }
}

/// As [`table`], in at most `columns` characters if that can be: without the columns that say least, where there are too many.
fn narrow_table(agencies: &[[String; 8]], columns: usize) -> Vec<String> {
    // Widths that the usual values have, so that columns do not move from one second to the next.
    let least = [2, 10, 6, 5, 5, 6, 7, 4];
    let (dialect, peer, heard, rate, winners) = (5, 7, 4, 3, 6);
    let header = ["id", "state", "bets", "rate", "heard", "dialect", "winners", "peer"].map(str::to_owned);
    let rows: Vec<&[String; 8]> = std::iter::once(&header).chain(agencies).collect();
    let width = |column: usize| {
        rows.iter().map(|cells| cells[column].chars().count()).chain([least[column]]).max().unwrap_or_default()
    };
    let widths: [usize; 8] = std::array::from_fn(width);
    let is_empty = |column: &usize| agencies.iter().all(|cells| cells[*column] == "-");
    let mut kept: Vec<usize> = (0..header.len()).collect();
    for column in
        [dialect, peer, heard, winners].into_iter().filter(is_empty).chain([dialect, peer, heard, rate, winners])
    {
        if kept.iter().map(|column| widths[*column] + 1).sum::<usize>() <= columns.saturating_add(1) {
            break;
        }
        kept.retain(|other| *other != column);
    }
    let is_text = |column: usize| [1, dialect, peer].contains(&column);
    let cell = |cells: &[String; 8], column: usize| {
        let (text, width) = (&cells[column], widths[column]);
        if is_text(column) { format!("{text:<width$}") } else { format!("{text:>width$}") }
    };
    let row = |cells: &[String; 8]| kept.iter().map(|column| cell(cells, *column)).collect::<Vec<_>>().join(" ");
    rows.into_iter().map(|cells| row(cells).trim_end().to_owned()).collect()
}

fn agency_row([id, state, bets, rate, heard, dialect, winners, peer]: [&str; 8]) -> String {
    let row = format!("{id:>6}  {state:<10} {bets:>11} {rate:>9} {heard:>6} {dialect:<9} {winners:>7} {peer}");
    row.trim_end().to_owned()
}

/// A header, and a line for each connection.
pub(super) fn of_connections(list: &ConnectionList) -> Vec<String> {
    let row = |[id, peer, dialect, state, agency, input, output, buffered, age, silent]: [&str; 10]| {
        clean(format!(
            "{id:>8}  {peer:<22} {dialect:<9} {state:<9} {agency:>6} {input:>10} {output:>10} {buffered:>10} {age:>7} {silent:>7}"
        ))
    };
    let mut lines = vec![row(["id", "peer", "dialect", "state", "agency", "in", "out", "buffered", "age", "silent"])];
    lines.extend(list.connections.iter().map(|connection| {
        row([
            &connection.id.to_string(),
            &connection.peer,
            connection.dialect.as_deref().unwrap_or("-"),
            connection.state.name(),
            &connection.agency.map_or("-".to_owned(), |id| id.to_string()),
            &bytes(connection.bytes_in),
            &bytes(connection.bytes_out),
            &bytes(connection.buffered_bytes as u64),
            &seconds(connection.age),
            &seconds(connection.silent_for),
        ])
    }));
    if list.left_out > 0 {
        lines.push(format!("and {} more", list.left_out));
    }
    lines
}

/// A line in lines of at most `columns` characters, broken at spaces where there are any; all but the first are indented.
pub(super) fn broken(line: &str, columns: usize, indent: usize) -> Vec<String> {
    let columns = columns.max(1);
    let indent = if columns > 2 * indent { indent } else { 0 };
    let mut rest: Vec<char> = line.chars().collect();
    let mut lines = Vec::new();
    while rest.len() > columns {
        let space = (indent + 1..=columns).rev().find(|at| rest[*at] == ' ');
        let tail = rest.split_off(space.unwrap_or(columns));
        lines.push(rest.iter().collect::<String>().trim_end().to_owned());
        rest = std::iter::repeat_n(' ', indent).chain(tail.into_iter().skip_while(|c| *c == ' ')).collect();
    }
    lines.push(rest.into_iter().collect());
    lines
}

/// The first `columns` characters of a line.
fn clip(line: &str, columns: usize) -> String {
    line.chars().take(columns).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_broken_at_spaces_and_says_the_same() {
        let line = "bets    6,200 stored, 512/s; this run: 100 batches, 0 rejected, 0 refused";
        assert_eq!(broken(line, 80, 8), [line]);
        let narrow = broken(line, 39, 8);
        assert_eq!(
            narrow,
            ["bets    6,200 stored, 512/s; this run:", "        100 batches, 0 rejected, 0", "        refused"]
        );
        let words = |lines: &[String]| lines.join(" ").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for columns in 0..90 {
            let lines = broken(line, columns, 8);
            assert!(lines.iter().all(|line| line.chars().count() <= columns.max(1)), "{columns}: {lines:?}");
            // A word that is longer than a line is broken as well.
            assert!(columns < 20 || words(&lines) == words(&[line.to_owned()]), "{columns}: {lines:?}");
        }
    }

    #[test]
    fn a_narrow_table_keeps_bets_and_winners_and_is_as_wide_as_there_is_room() {
        let agency = |id: &str, state: &str, bets: &str, rate: &str, winners: &str| {
            [id, state, bets, rate, "0.2s", "key-value", winners, "192.168.100.100:54321"].map(str::to_owned)
        };
        let betting =
            [agency("1", "lost 3m20s", "1,234,567", "12345/s", "-"), agency("12", "uploading", "9", "0/s", "-")];
        let headers = |columns| {
            let lines = narrow_table(&betting, columns);
            assert!(lines.iter().all(|line| line.chars().count() <= columns), "{columns}: {lines:?}");
            lines[0].split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(headers(79), "id state bets rate heard dialect winners peer");
        assert_eq!(headers(72), "id state bets rate heard dialect peer");
        assert_eq!(headers(59), "id state bets rate heard peer");
        assert_eq!(headers(39), "id state bets rate heard");
        assert_eq!(headers(31), "id state bets rate");
        let drawn = [agency("1", "finished", "1,234,567", "0/s", "1,234")];
        let told = ["id state           bets  rate winners", " 1 finished   1,234,567   0/s   1,234"];
        assert_eq!(narrow_table(&drawn, 39), told);
    }
}
