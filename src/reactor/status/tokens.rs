//! Tokens of the service's sockets. Slots of agencies' connections stay below [`VIEWER_BIT`].

use mio::Token;

use crate::limits;

/// The Unix socket.
pub(super) const LOCAL: Token = Token(usize::MAX - 3);
/// The TCP port.
pub(super) const NETWORK: Token = Token(usize::MAX - 4);
/// In the slot of a viewer's token.
const VIEWER_BIT: usize = 1 << 31;

/// The token of a viewer: an event of an earlier tenant of its slot has another generation.
pub(super) fn token_of(slot: usize, generation: u32) -> Token {
    Token((generation as usize) << 32 | VIEWER_BIT | slot)
}

/// Slot and generation of a viewer's token.
pub(super) fn viewer_of(token: Token) -> Option<(usize, u32)> {
    let Token(bits) = token;
    let low = bits & 0xffff_ffff;
    let generation = u32::try_from(bits >> 32).ok()?;
    (low & VIEWER_BIT != 0).then_some((low & !VIEWER_BIT, generation))
}

// Slots of viewers stay below the bit.
const _: () = assert!(limits::STATUS_LOCAL_MAX + limits::STATUS_NETWORK_MAX < VIEWER_BIT);
