//! Which registrations this kernel has, found by calls that change nothing.
//!
//! A kernel counts its registrations (Linux 6.18), which says what was compiled into none of them. Before that, and for
//! what a kernel may be built without, each call is made on a ring of the probe's own with an argument at an address
//! where no memory can be: a kernel that knows the call says `EFAULT` or complains of the ring, one that does not says
//! `EINVAL`. Where a call cannot be made so (it would act on the thread, or the ring must not be asked) nothing is
//! known, and the release of what else is there decides, as for variants of operations.

use rustix::io::Errno;

use super::Answer;
use crate::kernel::Kernel;
use crate::register::{Count, Registration, RegistrationInfo, RingState};
use crate::ring::Ring;
use crate::setup::Setup;
use crate::version::Version;
use rawring_sys as sys;

/// One registration, in [`Probe::registrations`](super::Probe::registrations).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registered {
    /// The number.
    pub registration: Registration,
    /// Whether the kernel has it, and how that is known.
    pub answer: Answer,
    /// Why not.
    pub missing: Option<Missing>,
}

/// Why a kernel does not have a registration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Missing {
    /// It came with this release.
    Since(Version),
    /// The kernel is of a release that has it, but was built without: the name is that of the option.
    NotBuilt(&'static str),
}

impl core::fmt::Display for Missing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Missing::Since(release) => write!(f, "came with Linux {release}"),
            Missing::NotBuilt(option) => write!(f, "this kernel was built without {option}"),
        }
    }
}

/// What a kernel said to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Said {
    Yes,
    No,
    Nothing,
}

const ALL: usize = RegistrationInfo::ALL.len();

/// What a kernel said of its registrations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answers {
    said: [Said; ALL],
    /// How many numbers it knows, if it tells.
    count: Option<u32>,
}

impl Answers {
    /// Nothing is known.
    pub(super) const NONE: Answers = Answers { said: [Said::Nothing; ALL], count: None };

    /// Asks with a ring of its own, of this kernel.
    pub(super) fn ask(kernel: &Kernel, count: Option<u32>) -> Answers {
        // What a ring needs for the calls that are for certain rings only; no kernel has those calls but not the flags.
        let special = Setup::of(kernel.clone(), 1).single_issuer().defer_taskrun().cqe32().build();
        let Ok(ring) = special.or_else(|_| Setup::of(kernel.clone(), 1).build()) else {
            return Answers { count, ..Answers::NONE };
        };
        let mut answers = Answers { count, ..Answers::NONE };
        for (said, row) in answers.said.iter_mut().zip(RegistrationInfo::ALL) {
            *said = trial(&ring, row);
        }
        answers
    }

    /// What is known of one, on a kernel that has parts of this release.
    pub(super) fn of(&self, registration: Registration, level: Version) -> Registered {
        let Some(row) = registration.info() else {
            let answer = match self.count {
                Some(count) if registration.0 < count => Answer::Yes,
                Some(_) => Answer::No,
                None => Answer::Unlikely,
            };
            return Registered { registration, answer, missing: None };
        };
        let answer = match self.said[registration.0 as usize] {
            Said::Yes => Answer::Yes,
            Said::No => Answer::No,
            Said::Nothing => match self.count {
                Some(count) if registration.0 >= count => Answer::No,
                _ if row.since <= level => Answer::Likely,
                _ => Answer::Unlikely,
            },
        };
        let missing = match answer {
            Answer::Yes | Answer::Likely => None,
            Answer::No | Answer::Unlikely => Some(match (option(registration), self.count) {
                (Some(option), Some(count)) if registration.0 < count => Missing::NotBuilt(option),
                (Some(option), None) if row.since <= level => Missing::NotBuilt(option),
                _ => Missing::Since(row.since),
            }),
        };
        Registered { registration, answer, missing }
    }

    /// The numbers that the crate or the kernel knows.
    pub(super) fn numbers(&self) -> impl Iterator<Item = Registration> + use<> {
        (0..self.count.unwrap_or(0).max(sys::IORING_REGISTER_LAST)).map(Registration)
    }

    /// The releases of those that are there.
    pub(super) fn releases(&self) -> impl Iterator<Item = Version> + '_ {
        let said = RegistrationInfo::ALL.iter().zip(self.said);
        said.filter(|(_, said)| *said == Said::Yes).map(|(row, _)| row.since)
    }
}

/// The option of a kernel's configuration that a registration needs.
fn option(registration: Registration) -> Option<&'static str> {
    match registration {
        Registration::NAPI | Registration::UNREGISTER_NAPI => Some("CONFIG_NET_RX_BUSY_POLL"),
        Registration::ZCRX_IFQ | Registration::ZCRX_CTRL => Some("CONFIG_IO_URING_ZCRX"),
        Registration::BPF_FILTER => Some("CONFIG_IO_URING_BPF"),
        _ => None,
    }
}

/// Makes a call in a way that changes nothing but, at most, a ring that nobody else has.
fn trial(ring: &Ring, row: &RegistrationInfo) -> Said {
    // These two act on the thread, so their counterparts are asked: the numbers of a pair are of one release.
    let asked = match row.registration {
        Registration::UNREGISTER_IOWQ_AFF => Registration::IOWQ_AFF,
        // Refused like an unknown call, for a number that is nobody's.
        Registration::UNREGISTER_PERSONALITY => Registration::PERSONALITY,
        registration => registration,
    };
    let Some(row) = asked.info() else { return Said::Nothing };
    let count = match row.count {
        Count::Exactly(count) | Count::Size(count) => count,
        Count::Elements => 1,
        // Enough for a set of processors.
        Count::Bytes => 8,
        Count::Id => return Said::Nothing,
    };
    let page = rustix::param::page_size();
    let nowhere = core::ptr::without_provenance_mut(usize::MAX - page + 1);
    let arg = if row.argument.is_empty() { core::ptr::null_mut() } else { nowhere };
    // The last page of the address space belongs to no process, so a kernel that reads there fails, and has done nothing
    // yet: the calls begin by reading. Those without an argument take something that the ring does not have, enable a
    // ring that is, or register credentials with it.
    let result = if row.ring == RingState::None {
        // SAFETY: as above.
        unsafe { ring.submit.entrance.kernel().register(-1, asked.0, arg, count) }
    } else {
        // SAFETY: as above.
        unsafe { ring.register_raw(asked.0, arg, count) }
    };
    verdict(result)
}

fn verdict(result: Result<u32, Errno>) -> Said {
    match result {
        // Not known, not built, or (to a simulated kernel) not there without a ring.
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::BADF) => Said::No,
        // Restrictions of the task are in the way.
        Err(Errno::ACCESS) => Said::Nothing,
        _ => Said::Yes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Version = Version::new(5, 15);

    fn answers(said: impl Fn(Registration) -> Said, count: Option<u32>) -> Answers {
        let mut answers = Answers { count, ..Answers::NONE };
        for row in RegistrationInfo::ALL {
            answers.said[row.registration.0 as usize] = said(row.registration);
        }
        answers
    }

    #[test]
    fn errors_tell_whether_a_call_is_known() {
        assert_eq!(verdict(Err(Errno::INVAL)), Said::No);
        assert_eq!(verdict(Err(Errno::OPNOTSUPP)), Said::No);
        assert_eq!(verdict(Err(Errno::ACCESS)), Said::Nothing);
        for known in [Ok(0), Err(Errno::FAULT), Err(Errno::NXIO), Err(Errno::BADFD), Err(Errno::PERM)] {
            assert_eq!(verdict(known), Said::Yes, "{known:?}");
        }
    }

    #[test]
    fn what_a_kernel_does_not_say_is_judged_by_its_release() {
        let nothing = answers(|_| Said::Nothing, None);
        let files = nothing.of(Registration::FILES, OLD);
        assert_eq!((files.answer, files.missing), (Answer::Likely, None));
        let clock = nothing.of(Registration::CLOCK, OLD);
        assert_eq!((clock.answer, clock.missing), (Answer::Unlikely, Some(Missing::Since(Version::new(6, 12)))));
        assert_eq!(nothing.of(Registration::CLOCK, Version::new(6, 12)).answer, Answer::Likely);
        assert_eq!(nothing.of(Registration(77), OLD).answer, Answer::Unlikely);
        // A kernel that counts them and was not to be tried.
        let counted = answers(|_| Said::Nothing, Some(sys::IORING_REGISTER_ZCRX_CTRL));
        assert_eq!(counted.of(Registration::ZCRX_CTRL, Version::new(6, 18)).answer, Answer::No);
    }

    #[test]
    fn what_is_missing_is_told_apart() {
        let refused = answers(|_| Said::No, Some(sys::IORING_REGISTER_LAST + 2));
        let napi = refused.of(Registration::NAPI, OLD).missing.expect("missing");
        assert!(napi.to_string().contains("CONFIG_NET_RX_BUSY_POLL"), "{napi}");
        let files = refused.of(Registration::FILES2, OLD).missing.expect("missing");
        assert_eq!(files.to_string(), "came with Linux 5.13");
        // Numbers that only the kernel knows.
        let last = refused.numbers().last().expect("numbers");
        assert_eq!(refused.of(last, OLD).answer, Answer::Yes);
        assert_eq!((last.0, refused.of(Registration(last.0 + 1), OLD).answer), (39, Answer::No));
        let old = answers(|_| Said::No, None);
        assert_eq!(old.of(Registration::NAPI, OLD).missing, Some(Missing::Since(Version::new(6, 9))));
        assert_eq!(old.numbers().count(), ALL);
    }
}
