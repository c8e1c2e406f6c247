//! Parked queries: what each costs, and that all are answered.

use std::path::Path;
use std::time::{Duration, Instant};

use super::hub::Hub;
use super::queries::{DIALECTS, allowed, bet, draw, park, wait_until_read};

/// What a parked query may cost the hub, in bytes.
const COST_MAX: f64 = 2048.0;

/// Parks `wanted` queries, or as many as there are descriptors for; measures, draws after `wait`, counts.
///
/// # Errors
/// In one line.
pub fn measure(server: &Path, wanted: usize, wait: Duration) -> Result<bool, String> {
    let count = allowed(wanted);
    if count < wanted {
        println!("only {count} of {wanted} queries: the system has no more descriptors (ulimit -Hn)");
    }
    let maximum = (count + 100).to_string();
    let environment =
        [("LOTTERY_AGENCIES", "2"), ("SERVER_LISTEN_BACKLOG", "4096"), ("LIMITS_MAX_CONNECTIONS", maximum.as_str())];
    let hub = Hub::start(server, &environment)?;
    let winner = bet(hub.address())?;
    let before = hub.usage()?;
    let mut queries = Vec::with_capacity(count);
    for index in 0..count {
        queries.push(park(hub.address(), index).map_err(|error| format!("query {index}: {error}"))?);
    }
    wait_until_read(hub.address())?;
    let after = hub.usage()?;
    let each = (after.own_kib as f64 - before.own_kib as f64) * 1024.0 / count as f64;
    println!(
        "{count} parked queries in {} dialects: {each:.0} bytes of the hub's own memory each (RssAnon)",
        DIALECTS.len()
    );
    println!("they wait {wait:?} for the draw");
    std::thread::sleep(wait);
    let began = Instant::now();
    draw(hub.address())?;
    let mut answered = 0;
    for query in &mut queries {
        answered += usize::from(query.is_answered(&winner)?);
    }
    let (took, peak) = (began.elapsed(), hub.usage()?.peak_kib / 1024);
    println!("{answered} of them got the winner within {took:.0?} of the draw; the hub's peak memory was {peak} MiB");
    Ok(answered == count && each < COST_MAX)
}
