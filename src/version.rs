//! Kernel releases as data.
//!
//! "Since" is a fact about an operation or a flag, printed in errors and documentation. It never decides what the
//! crate does: distributions backport, so what a kernel can do is asked of the kernel ([`crate::probe`]).

use core::fmt;

/// A kernel release, such as 6.10.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The number before the dot.
    pub major: u8,
    /// The number after it.
    pub minor: u8,
}

impl Version {
    /// The release with these two numbers.
    pub const fn new(major: u8, minor: u8) -> Self {
        Version { major, minor }
    }

    /// Reads `"6.10"`, at compile time; used by the table of operations, whose rows write releases as literals.
    pub(crate) const fn parse(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut parts = [0u8; 2];
        let mut part = 0;
        let mut i = 0;
        while i < bytes.len() {
            match bytes[i] {
                b'.' => part += 1,
                digit @ b'0'..=b'9' => parts[part] = parts[part] * 10 + (digit - b'0'),
                _ => panic!("a release is written as major.minor"),
            }
            i += 1;
        }
        assert!(part == 1, "a release is written as major.minor");
        Version::new(parts[0], parts[1])
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_numbers_are_not_fractions() {
        assert_eq!(Version::parse("6.10"), Version::new(6, 10));
        assert!(Version::parse("6.10") > Version::parse("6.9"));
        assert_eq!(Version::parse("5.1").to_string(), "5.1");
    }
}
