//! A draw that is held: a hub has found that the engine has forgotten what it had confirmed, and a person decides.

use super::audit::draw_row;
use super::network::Waiting;
use super::reader::Reader;
use super::start::quoted;
use super::tool_error::EngineError;

/// Why the draw is held; `None`: it is not.
///
/// # Errors
/// There is no such draw, or it cannot be read.
pub fn held<N: Waiting>(reader: &mut Reader<N>) -> Result<Option<String>, EngineError> {
    draw_row(reader).map(|row| row.held)
}

/// Ends that the draw is held, if it is still for the reason `why`: hubs make it when all agencies have finished.
///
/// # Errors
/// The engine refuses, or does not answer.
pub fn release<N: Waiting>(reader: &mut Reader<N>, why: &str) -> Result<(), EngineError> {
    let (draw, why) = (reader.options().draw, quoted(why));
    reader.commit(&format!("UPDATE loteria.draws SET held = NULL WHERE draw = {draw} AND held = {why}"))
}
