//! Row locks of one node: each a queue, the first of which has it.

use std::collections::{BTreeMap, VecDeque};

use super::Link;
use super::statements::Key;

#[derive(Default)]
pub struct Locks(BTreeMap<Key, VecDeque<Link>>);

impl Locks {
    /// Takes the lock, or its place in the queue. Says whether `link` has it.
    pub fn take(&mut self, key: Key, link: Link) -> bool {
        let queue = self.0.entry(key).or_default();
        if !queue.contains(&link) {
            queue.push_back(link);
        }
        queue.front() == Some(&link)
    }

    /// Gives the lock back, or the place in its queue. Returns who has it now, if that has changed.
    pub fn give_back(&mut self, key: Key, link: Link) -> Option<Link> {
        let queue = self.0.get_mut(&key)?;
        let had = queue.front() == Some(&link);
        queue.retain(|other| *other != link);
        let next = queue.front().copied();
        if next.is_none() {
            self.0.remove(&key);
        }
        next.filter(|_| had)
    }

    /// Who has the lock.
    pub fn holder(&self, key: Key) -> Option<Link> {
        self.0.get(&key)?.front().copied()
    }
}
