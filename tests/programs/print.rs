//! Programs in words: `{:?}` is a Rust expression that can be pasted into a test.

use std::fmt;

use super::program::{Entry, Link, Program};

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry({:?})", self.op)?;
        f.write_str(match self.link {
            Link::None => "",
            Link::Soft => ".link()",
            Link::Hard => ".hard_link()",
        })?;
        let flags = [(self.drain, ".drain()"), (self.force_async, ".force_async()"), (self.skip, ".skip()")];
        for (set, text) in flags.into_iter().chain([(self.fixed, ".fixed()")]) {
            f.write_str(if set { text } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Program { kind, door, bufs, steps } = self;
        writeln!(f, "Program {{\n    kind: Kind::{kind:?},\n    door: Door::{door:?},\n    bufs: Bufs::{bufs:?},")?;
        writeln!(f, "    steps: vec![")?;
        for step in steps {
            writeln!(f, "        {step:?},")?;
        }
        f.write_str("    ],\n}")
    }
}
