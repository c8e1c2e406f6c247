//! A start: the store's files are locked, read, checked and brought to the end of their last whole group.
//!
//! [`start`] has the order of the steps. Nothing is modified before everything has been checked. A start that is cut
//! off between any two calls is repeated by the next one, with the same result.

mod adopt;
pub(in crate::storage) mod check;
pub(in crate::storage) mod create;
mod quarantine;
pub(in crate::storage) mod redo;
mod repair;
mod replay;
pub(in crate::storage) mod scan;
mod start;
pub(in crate::storage) mod stopped;
pub(in crate::storage) mod walk;
