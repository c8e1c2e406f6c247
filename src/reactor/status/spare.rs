//! A descriptor that is kept for the operator: `loteria health` says that descriptors have run out, and needs one for it.

use std::fs::File;

/// A descriptor for one viewer of the Unix socket, for when there are no others.
#[derive(Debug)]
pub(super) struct Spare {
    kept: Option<File>,
    /// The slot of the viewer that has it.
    lent: Option<usize>,
}

impl Spare {
    pub(super) fn new() -> Spare {
        Spare { kept: descriptor(), lent: None }
    }

    pub(super) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Frees the descriptor. Says whether there was one.
    pub(super) fn free(&mut self) -> bool {
        self.kept.take().is_some()
    }

    /// The viewer in `slot` has the descriptor that was freed.
    pub(super) fn lend(&mut self, slot: usize) {
        self.lent = Some(slot);
    }

    /// The slot of the viewer that has it: it does not go for an agency.
    pub(super) fn lent(&self) -> Option<usize> {
        self.lent
    }

    /// The viewer in `slot` is closed; its descriptor is kept again, if it is this one.
    pub(super) fn closed(&mut self, slot: usize) {
        if self.lent == Some(slot) {
            self.lent = None;
            self.keep();
        }
    }

    /// Keeps a descriptor, unless one is kept or lent.
    pub(super) fn keep(&mut self) {
        if self.kept.is_none() && self.lent.is_none() {
            self.kept = descriptor();
        }
    }
}

fn descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}
