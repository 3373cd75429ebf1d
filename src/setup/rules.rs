//! Which setup flags exclude or need each other, as a table.
//!
//! The kernel answers `EINVAL` to all of these alike; the table is what lets an error name the pair. It states what
//! `io_uring_setup` refuses whatever the other parameters are, and no taste of ours. A test tries every set of flags on
//! the running kernel and compares.

use crate::flags::SetupFlags;

/// A combination of setup flags that no kernel takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Conflict {
    /// The two cannot be used together.
    Excludes(SetupFlags, SetupFlags),
    /// The first cannot be used without the second, or without one of them if there are several.
    Needs(SetupFlags, SetupFlags),
}

use Conflict::{Excludes, Needs};
use SetupFlags as F;

const RULES: &[Conflict] = &[
    Excludes(F::SQPOLL, F::COOP_TASKRUN),
    Excludes(F::SQPOLL, F::TASKRUN_FLAG),
    Excludes(F::SQPOLL, F::DEFER_TASKRUN),
    Excludes(F::SQPOLL, F::SQ_REWIND),
    Excludes(F::SQE128, F::SQE_MIXED),
    Excludes(F::CQE32, F::CQE_MIXED),
    Needs(F::SQ_AFF, F::SQPOLL),
    Needs(F::TASKRUN_FLAG, F::COOP_TASKRUN.union(F::DEFER_TASKRUN)),
    Needs(F::DEFER_TASKRUN, F::SINGLE_ISSUER),
    Needs(F::HYBRID_IOPOLL, F::IOPOLL),
    Needs(F::REGISTERED_FD_ONLY, F::NO_MMAP),
    Needs(F::SQ_REWIND, F::NO_SQARRAY),
];

impl Conflict {
    /// Every rule there is. What breaks none of them, the kernels that know the flags take.
    pub const ALL: &'static [Conflict] = RULES;

    /// The first rule that these flags break.
    #[must_use]
    pub fn of(flags: SetupFlags) -> Option<Conflict> {
        conflict(flags)
    }
}

/// The first rule that these flags break.
pub(crate) fn conflict(flags: SetupFlags) -> Option<Conflict> {
    RULES.iter().copied().find(|rule| match *rule {
        Excludes(one, other) => flags.contains(one | other),
        Needs(flag, any) => flags.contains(flag) && !flags.intersects(any),
    })
}

/// The flag together with what it needs, so that it can be tried on its own.
pub(super) fn complete(flag: SetupFlags) -> SetupFlags {
    let mut flags = flag;
    while let Some(Needs(_, any)) = conflict(flags) {
        // Of several, the first to have come: the flag cannot be older than that one.
        flags |= F::from_bits_retain(any.bits() & any.bits().wrapping_neg());
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completed_flag_breaks_no_rule() {
        for info in F::INFO {
            let flag = F::from_bits_retain(info.bits as u32);
            let flags = complete(flag);
            assert!(flags.contains(flag));
            assert_eq!(conflict(flags), None, "{}", info.name);
        }
        assert_eq!(complete(F::TASKRUN_FLAG), F::TASKRUN_FLAG | F::COOP_TASKRUN);
    }

    #[test]
    fn either_of_two_needed_flags_will_do() {
        assert!(conflict(F::TASKRUN_FLAG).is_some());
        assert_eq!(conflict(F::TASKRUN_FLAG | F::COOP_TASKRUN), None);
        assert_eq!(conflict(F::TASKRUN_FLAG | F::DEFER_TASKRUN | F::SINGLE_ISSUER), None);
    }
}
