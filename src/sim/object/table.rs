//! Which number leads to which object, and which name to which listener.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::sync::{Arc, Weak};

use super::{Kind, Object};

/// The descriptors of a simulated process.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    numbers: BTreeMap<RawFd, Object>,
    /// A name is not a reference: it goes with the last of them.
    names: BTreeMap<Vec<u8>, Weak<Kind>>,
}

impl Objects {
    /// A reference of its own to what the number leads to.
    pub(crate) fn get(&self, number: RawFd) -> Option<Object> {
        self.numbers.get(&number).cloned()
    }

    /// What the number led to before is closed.
    pub(crate) fn install(&mut self, number: RawFd, object: Object) {
        self.numbers.insert(number, object);
    }

    /// Closes the number. The object lives on while a request or another number refers to it.
    pub(crate) fn remove(&mut self, number: RawFd) -> Option<Object> {
        self.numbers.remove(&number)
    }

    /// Gives a listener a name to connect to.
    pub(crate) fn bind(&mut self, name: Vec<u8>, listener: &Object) {
        self.names.retain(|_, named| named.strong_count() > 0);
        self.names.insert(name, Arc::downgrade(&listener.0));
    }

    /// Who listens at a name.
    pub(crate) fn listener(&self, name: &[u8]) -> Option<Object> {
        self.names.get(name)?.upgrade().map(Object)
    }
}
