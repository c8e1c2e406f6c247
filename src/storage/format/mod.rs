//! The bytes of the store's files: a record, an entry of the redo log, a row. Nothing here reads or writes a file.

pub(in crate::storage) mod record;
pub(in crate::storage) mod redo;
pub(in crate::storage) mod row;
