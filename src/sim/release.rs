//! Which kernel the simulator presents itself as.
//!
//! Everything follows from one [`Version`] and from tables that the crate has anyway: which release brought an
//! operation, a variant, a flag. The only facts that live here are where the words of a ring lie, and how large
//! queues can be.
//!
//! A release here is what kernel.org calls so. Distributions backport, so a real kernel may have more.

use rustix::io::Errno;

use crate::flags::{EnterFlags, Features, FlagInfo, FlagNames, SetupFlags, SqeFlags};
use crate::op::{self, OpInfo, Opcode, OperandInfo};
use crate::operand::Kind;
use crate::probe::{QUERIES, REGISTRATIONS};
use crate::sqe::{At, RawSqe};
use crate::version::Version;
use rawring_sys as sys;

/// The kernel that is presented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Release(Version);

/// What a kernel answers to `IORING_REGISTER_QUERY`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Opcodes(sys::io_uring_query_opcode),
    Scq(sys::io_uring_query_scq),
}

/// What a completion slot, and what follows the slots, is aligned to.
const CACHE_LINE: u32 = 64;

/// Slots of the largest submission queue; a completion queue can have twice as many.
pub(crate) const MAX_ENTRIES: u32 = 32_768;

impl Release {
    /// The first that the crate works with.
    pub(crate) const OLDEST: Version = Version::new(5, 15);
    /// The last that the crate knows.
    pub(crate) const NEWEST: Version = Version::new(7, 3);

    /// The release that is meant by any version: those outside of what the crate knows are the nearest inside.
    pub(crate) fn new(version: Version) -> Self {
        Release(version.clamp(Self::OLDEST, Self::NEWEST))
    }

    /// Whether the release is this one or later.
    pub(crate) fn is(self, since: Version) -> bool {
        self.0 >= since
    }

    /// Those of a table's bits that the release has.
    fn bits(self, table: &[FlagInfo]) -> u64 {
        table.iter().filter(|flag| self.is(flag.since)).fold(0, |bits, flag| bits | flag.bits)
    }

    /// What `io_uring_setup` says of itself.
    pub(crate) fn features(self) -> Features {
        Features::from_bits_retain(self.bits(Features::INFO) as u32)
    }

    /// The setup flags that are known.
    pub(crate) fn setup_flags(self) -> SetupFlags {
        SetupFlags::from_bits_retain(self.bits(SetupFlags::INFO) as u32)
    }

    /// The flags of `io_uring_enter` that are known.
    pub(crate) fn enter_flags(self) -> EnterFlags {
        EnterFlags::from_bits_retain(self.bits(EnterFlags::INFO) as u32)
    }

    /// The flags of entries that are known.
    pub(crate) fn sqe_flags(self) -> SqeFlags {
        SqeFlags::from_bits_retain(self.bits(SqeFlags::INFO) as u8)
    }

    /// Whether there is such an operation.
    pub(crate) fn supports(self, opcode: u8) -> bool {
        op::since(Opcode(opcode)).is_some_and(|since| self.is(since))
    }

    /// How many operations there are. They came in the order of their numbers.
    pub(crate) fn operations(self) -> u8 {
        (0..sys::IORING_OP_LAST).take_while(|&opcode| self.supports(opcode)).count() as u8
    }

    /// Whether this variant of its operation is known, with what it asks for. Here a kernel refuses what it does not
    /// know; some real ones do not look.
    pub(crate) fn knows(self, sqe: &RawSqe) -> bool {
        op::describe(sqe).is_some_and(|row| {
            self.is(row.since) && row.operands.iter().all(|operand| self.is_known(row, operand, sqe))
        })
    }

    /// Whether an operand is known, or not there.
    fn is_known(self, row: &OpInfo, operand: &OperandInfo, sqe: &RawSqe) -> bool {
        let has = |&(at, bits): &(At, u64)| sqe.get(at) & bits == bits;
        let there = match operand.sets {
            // What is there anyway says nothing of the operand.
            [] => operand.at.iter().any(|&at| sqe.get(at) != row.initial(at)),
            flags => flags.iter().all(has),
        };
        let unknown = |flag: &FlagInfo| !self.is(flag.since) && operand.at.iter().any(|&at| has(&(at, flag.bits)));
        match operand.kind {
            _ if there && !self.is(operand.since) => false,
            Kind::Flags(FlagNames::Table(table)) => !table.iter().any(unknown),
            _ => true,
        }
    }

    /// What `IORING_REGISTER_QUERY` answers; `None` where there is no such registration.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` for questions that the release does not know, and for those about zero-copy receive, which the
    /// simulator does not have.
    pub(crate) fn query(self, question: u32) -> Option<Result<Answer, Errno>> {
        if !self.is(Version::new(6, 18)) {
            return None;
        }
        let (registrations, queries) =
            (self.count(REGISTRATIONS, sys::IORING_REGISTER_LAST), self.count(QUERIES, sys::__IO_URING_QUERY_MAX));
        Some(match question {
            sys::IO_URING_QUERY_OPCODES => Ok(Answer::Opcodes(sys::io_uring_query_opcode {
                nr_request_opcodes: self.operations().into(),
                nr_register_opcodes: registrations,
                feature_flags: self.features().bits().into(),
                ring_setup_flags: self.setup_flags().bits().into(),
                enter_flags: self.enter_flags().bits().into(),
                sqe_flags: self.sqe_flags().bits().into(),
                nr_query_opcodes: queries,
                __pad: 0,
            })),
            sys::IO_URING_QUERY_SCQ if queries > sys::IO_URING_QUERY_SCQ => Ok(Answer::Scq(sys::io_uring_query_scq {
                hdr_size: self.words().cqes.into(),
                hdr_alignment: CACHE_LINE.into(),
            })),
            _ => Err(Errno::OPNOTSUPP),
        })
    }

    /// How many there are of what came in the order of its numbers.
    fn count(self, signs: [(u32, Version); 2], all: u32) -> u32 {
        signs.into_iter().find(|&(_, since)| !self.is(since)).map_or(all, |(number, _)| number)
    }

    /// Where the words of both queues lie.
    fn words(self) -> Words {
        // 6.1 has the first and 6.12 the second; that it changed with the array's becoming optional is a guess.
        if self.setup_flags().contains(SetupFlags::NO_SQARRAY) { Words::CLOSE } else { Words::APART }
    }

    /// Where everything lies in the memory of a ring with queues of these sizes, and how large that is.
    pub(crate) fn offsets(
        self,
        sq_entries: u32,
        cq_entries: u32,
        flags: SetupFlags,
    ) -> (sys::io_sqring_offsets, sys::io_cqring_offsets, u32) {
        let words = self.words();
        let narrow = words.cqes + cq_entries * size_of::<sys::io_uring_cqe>() as u32;
        // The kernel doubles what is before the slots as well.
        let end = if flags.contains(SetupFlags::CQE32) { narrow * 2 } else { narrow };
        let end = end.next_multiple_of(CACHE_LINE);
        let has_array = !flags.contains(SetupFlags::NO_SQARRAY);
        let sq = sys::io_sqring_offsets {
            head: 0,
            tail: words.between,
            ring_mask: words.masks,
            ring_entries: words.masks + 8,
            dropped: words.masks + 16,
            flags: words.masks + 20,
            array: if has_array { end } else { 0 },
            ..sys::io_sqring_offsets::ZERO
        };
        let cq = sys::io_cqring_offsets {
            head: words.between * 2,
            tail: words.between * 3,
            ring_mask: words.masks + 4,
            ring_entries: words.masks + 12,
            flags: words.masks + 24,
            overflow: words.masks + 28,
            cqes: words.cqes,
            ..sys::io_cqring_offsets::ZERO
        };
        (sq, cq, if has_array { end + sq_entries * size_of::<u32>() as u32 } else { end })
    }
}

/// Offsets in bytes.
struct Words {
    /// From each head and tail to the next.
    between: u32,
    /// Of the words that follow them.
    masks: u32,
    /// Of the completions.
    cqes: u32,
}

impl Words {
    /// Each in a cache line of its own.
    const APART: Words = Words { between: CACHE_LINE, masks: 4 * CACHE_LINE, cqes: 5 * CACHE_LINE };
    /// All in one.
    const CLOSE: Words = Words { between: 4, masks: 16, cqes: CACHE_LINE };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Probe;
    use crate::ring::Ring;

    #[test]
    fn the_kernel_that_runs_here_is_presented_as_it_is() {
        let probe = Probe::new().expect("a ring");
        let release = Release::new(probe.level());
        for op in probe.operations() {
            assert_eq!(op.supported, release.supports(op.opcode.0), "{op:?} at {release:?}");
        }
        assert!(probe.features().all(|flag| flag.supported == release.is(flag.info.since)), "{probe:?}");
        assert!(probe.setup_flags().all(|flag| flag.supported == release.is(flag.info.since)), "{probe:?}");
        let query = release.query(sys::IO_URING_QUERY_OPCODES).map(|answer| answer.expect("a known question"));
        assert_eq!(query, crate::probe::query_opcodes().map(Answer::Opcodes));
    }

    #[test]
    fn rings_are_laid_out_as_by_the_kernel_that_runs_here() {
        let release = Release::new(Probe::new().expect("a ring").level());
        let mut compared = 0;
        for flags in [SetupFlags::empty(), SetupFlags::NO_SQARRAY, SetupFlags::CQE32, SetupFlags::CQE_MIXED] {
            if !release.setup_flags().contains(flags) {
                continue;
            }
            for (entries, cq_entries) in [(2, 4), (1, 2), (256, 8192)] {
                let setup = Ring::setup(entries).cq_entries(cq_entries).raw_flags(flags);
                let ring = setup.no_sqarray(flags.contains(SetupFlags::NO_SQARRAY)).build().expect("a ring");
                let params = ring.params();
                let (sq, cq, _) = release.offsets(params.sq_entries, params.cq_entries, flags);
                assert_eq!((params.sq_off, params.cq_off), (sq, cq), "{flags:?} {entries} {cq_entries}");
                compared += 1;
            }
        }
        assert!(compared >= 3);
    }

    #[test]
    fn every_release_is_below_the_next() {
        let all = (15..20).map(|minor| Version::new(5, minor)).chain((0..20).map(|minor| Version::new(6, minor)));
        let mut before = Release::new(Version::new(5, 0));
        assert_eq!(before, Release::new(Release::OLDEST));
        for version in all.chain((0..4).map(|minor| Version::new(7, minor))) {
            let next = Release::new(version);
            assert!(next.features().contains(before.features()), "{version}");
            assert!(next.setup_flags().contains(before.setup_flags()), "{version}");
            assert!(next.operations() >= before.operations(), "{version}");
            assert!(next.features().contains(crate::Setup::FLOOR));
            let (sq, cq, len) = next.offsets(8, 16, SetupFlags::empty());
            let params = sys::io_uring_params {
                sq_entries: 8,
                cq_entries: 16,
                sq_off: sq,
                cq_off: cq,
                ..sys::io_uring_params::ZERO
            };
            assert_eq!(sys::map::ring_len(&params), Ok(len as usize));
            assert!(sys::map::layout(&params, len as usize, 8 * 64).is_ok(), "{version}");
            before = next;
        }
        assert_eq!(before.operations(), sys::IORING_OP_LAST);
        assert_eq!(before, Release::new(Version::new(9, 9)));
    }

    /// What Debian's kernels answered.
    #[test]
    fn releases_answer_as_the_real_ones_did() {
        let counts = |major, minor| match Release::new(Version::new(major, minor)).query(0) {
            Some(Ok(Answer::Opcodes(answer))) => {
                Some((answer.nr_request_opcodes, answer.nr_register_opcodes, answer.nr_query_opcodes))
            }
            _ => None,
        };
        assert_eq!(counts(6, 17), None);
        assert_eq!(counts(6, 18), Some((63, 36, 1)));
        assert_eq!(counts(6, 19), Some((65, 37, 3)));
        assert_eq!(counts(7, 0), Some((65, 38, 3)));
        assert_eq!(counts(7, 2), Some((65, 38, 4)));
        let features = |major, minor| Release::new(Version::new(major, minor)).features().bits();
        assert_eq!((features(6, 1), features(6, 12), features(6, 19)), (0x1fff, 0xffff, 0x3ffff));
        let cqes = |major, minor| Release::new(Version::new(major, minor)).words().cqes;
        assert_eq!((cqes(6, 1), cqes(6, 12)), (320, 64));
        let variant = |opcode, field: fn(&mut RawSqe)| {
            let mut raw = RawSqe::ZERO;
            raw.opcode = opcode;
            field(&mut raw);
            raw
        };
        let recv = variant(sys::IORING_OP_RECV, |raw| {
            raw.ioprio = sys::IORING_RECV_MULTISHOT;
            raw.flags = sys::IOSQE_BUFFER_SELECT;
        });
        assert!(!Release::new(Version::new(5, 19)).knows(&recv) && Release::new(Version::new(6, 0)).knows(&recv));
        assert!(!Release::new(Release::NEWEST).knows(&variant(200, |_| ())));
        // An operand without a flag of its own, which came later than its row.
        let limited = RawSqe { len: 9, ..recv };
        assert!(
            !Release::new(Version::new(6, 16)).knows(&limited) && Release::new(Version::new(6, 17)).knows(&limited)
        );
    }
}
