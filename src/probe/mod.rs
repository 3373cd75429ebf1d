//! What this kernel can do, and with which certainty.
//!
//! A kernel tells which operation numbers it has, its features, and (Linux 6.18) its flags. Registrations are found by
//! trying. It tells nothing of variants: that `RECV` can be multishot is in no table of its. Those are judged by what
//! came with the same release: see [`Answer`]. The version string decides nothing, for distributions backport; [`kernel_release`] is for people.
//!
//! Where there is no io_uring at all, [`Probe::new`] says why: its error is the diagnosis.

mod query;
mod registrations;
mod rings;

pub use query::{Query, query, query_opcodes};
pub(crate) use query::{query_of, queues_of};
pub use registrations::{Missing, Registered};
pub use rings::RingTrials;

use core::fmt;
use core::mem::size_of;

use rustix::io::Errno;

use crate::flags::{EnterFlags, Features, FlagInfo, SetupFlags, SqeFlags};
use crate::op::{self, OpInfo, Opcode};
use crate::register::Registration;
use crate::ring::Ring;
use crate::setup::{Setup, SetupError, unknown_flags};
use crate::version::Version;
use rawring_sys as sys;

/// What a kernel can do.
///
/// ```
/// use rawring::{op::Nop, probe::Probe};
///
/// let probe = Probe::new()?;
/// assert!(probe.supports(Nop::INFO));
/// probe.require(Nop::INFO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Probe {
    supported: [bool; 256],
    last_op: u8,
    features: Features,
    setup_flags: SetupFlags,
    query: Option<sys::io_uring_query_opcode>,
    registrations: registrations::Answers,
    level: Version,
}

/// Whether the kernel has an operation or a registration, and how that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The kernel says so.
    Yes,
    /// The kernel has the opcode, and something else that came with the release of this variant or a later one.
    /// Nothing says it of the variant itself. Of a registration: it could not be tried.
    Likely,
    /// The kernel has the opcode, and nothing that came with the release of this variant or a later one. A few
    /// releases brought nothing by which they could be told, so it may have the variant.
    Unlikely,
    /// The kernel says that it does not have the opcode, or the registration.
    No,
}

/// Which release brought registrations of this number and up, from where on a kernel tells how many it has.
pub(crate) const REGISTRATIONS: [(u32, Version); 2] =
    [(sys::IORING_REGISTER_ZCRX_CTRL, Version::new(6, 19)), (sys::IORING_REGISTER_BPF_FILTER, Version::new(7, 0))];

/// The same of queries.
pub(crate) const QUERIES: [(u32, Version); 2] =
    [(sys::IO_URING_QUERY_ZCRX, Version::new(6, 19)), (sys::IO_URING_QUERY_ZCRX_EVENT, Version::new(7, 2))];

/// Releases that are told by how many registrations or queries a kernel counts, as those of Debian answered.
fn counted(answer: &sys::io_uring_query_opcode) -> impl Iterator<Item = Version> + use<> {
    let shown = |signs: [(u32, Version); 2], count: u32| {
        signs.into_iter().filter_map(move |(number, release)| (count > number).then_some(release))
    };
    shown(REGISTRATIONS, answer.nr_register_opcodes).chain(shown(QUERIES, answer.nr_query_opcodes))
}

/// An operation that this kernel does not have, as far as can be told.
#[derive(Clone, Copy, Debug)]
pub struct Unsupported {
    /// The operation.
    pub op: &'static OpInfo,
    /// The release that brought it.
    pub since: Version,
    /// [`Answer::No`], or [`Answer::Unlikely`] where the kernel has the opcode and may have the variant.
    pub answer: Answer,
}

/// One operation number, in [`Probe::operations`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// The number.
    pub opcode: Opcode,
    /// Whether the kernel has it.
    pub supported: bool,
    /// The release that brought it; `None` for numbers that this crate does not know.
    pub since: Option<Version>,
}

/// One flag or feature, in [`Probe::setup_flags`] and its kin.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Its name, bits and release.
    pub info: FlagInfo,
    /// Whether the kernel has it.
    pub supported: bool,
}

/// How large queues can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Slots of a submission queue.
    pub entries: u32,
    /// Slots of a completion queue.
    pub cq_entries: u32,
}

impl Probe {
    /// Asks by means of a tiny ring of its own.
    ///
    /// # Errors
    ///
    /// Why there is no io_uring here, or why its rings may not be asked ([`Step::Probe`](crate::Step::Probe)).
    pub fn new() -> Result<Probe, SetupError> {
        let ring = Setup::new(1).build()?;
        Probe::of(&ring).map_err(SetupError::probing)
    }

    /// Asks by means of `ring`.
    ///
    /// # Errors
    ///
    /// What `io_uring_register` says: `EEXIST` where the ring belongs to another thread, `EBADF` for a ring without
    /// descriptor there, `EACCES` where restrictions forbid it.
    pub fn of(ring: &Ring) -> Result<Probe, Errno> {
        Ok(Probe::from(ring, &Room::ask(ring)?))
    }

    fn from(ring: &Ring, room: &Room) -> Probe {
        let all = SetupFlags::INFO.iter().fold(0, |bits, flag| bits | flag.bits as u32);
        let all = SetupFlags::from_bits_retain(all);
        let kernel = ring.submit.entrance.kernel();
        let query = query_of(kernel);
        let setup_flags = match query {
            Some(answer) => SetupFlags::from_bits_retain(answer.ring_setup_flags as u32),
            None => all.difference(unknown_flags(kernel, all).unwrap_or_default()),
        };
        let registrations = registrations::Answers::ask(kernel, query.map(|answer| answer.nr_register_opcodes));
        let (supported, last_op, features) = (supported(room), room.head.last_op, ring.features());
        let mut probe = Probe { supported, last_op, features, setup_flags, query, registrations, level: FLOOR };
        probe.level = probe.newest();
        probe
    }

    /// The latest release of anything that the kernel has.
    fn newest(&self) -> Version {
        let operations = self.operations().filter(|op| op.supported).filter_map(|op| op.since);
        let flags = self.features().chain(self.setup_flags()).chain(self.enter_flags()).chain(self.sqe_flags());
        let flags = flags.filter(|flag| flag.supported).map(|flag| flag.info.since);
        let counted = self.query.iter().flat_map(counted).chain(self.registrations.releases());
        operations.chain(flags).chain(counted).fold(FLOOR, Version::max)
    }

    /// Whether the kernel has this opcode.
    #[must_use]
    pub fn supports_opcode(&self, opcode: u8) -> bool {
        self.supported[usize::from(opcode)]
    }

    /// Whether the kernel has this operation, and how that is known.
    #[must_use]
    pub fn answer(&self, op: &OpInfo) -> Answer {
        if !self.supports_opcode(op.opcode.0) {
            Answer::No
        } else if op::since(op.opcode).is_none_or(|first| op.since <= first) {
            Answer::Yes
        } else if op.since <= self.level {
            Answer::Likely
        } else {
            Answer::Unlikely
        }
    }

    /// Whether the kernel has this operation for certain, or [likely](Answer::Likely).
    #[must_use]
    pub fn supports(&self, op: &OpInfo) -> bool {
        matches!(self.answer(op), Answer::Yes | Answer::Likely)
    }

    /// As [`supports`](Self::supports), for use with `?`.
    ///
    /// # Errors
    ///
    /// The operation and the release that brought it.
    pub fn require(&self, op: &'static OpInfo) -> Result<(), Unsupported> {
        match self.answer(op) {
            Answer::Yes | Answer::Likely => Ok(()),
            answer => Err(Unsupported { op, since: op.since, answer }),
        }
    }

    /// All operation numbers that the crate or the kernel knows.
    pub fn operations(&self) -> impl Iterator<Item = Operation> + '_ {
        let last = self.last_op.max(sys::IORING_OP_LAST - 1);
        (0..=last).map(|number| {
            let opcode = Opcode(number);
            Operation { opcode, supported: self.supports_opcode(number), since: op::since(opcode) }
        })
    }

    /// Whether the kernel has this registration, how that is known, and if not, why.
    ///
    /// ```
    /// use rawring::{probe::Probe, register::Registration};
    ///
    /// let probe = Probe::new()?;
    /// let resize = probe.registration(Registration::RESIZE_RINGS);
    /// if let Some(reason) = resize.missing {
    ///     println!("queues keep their sizes: {:?} {reason}", resize.registration);
    /// }
    /// # Ok::<(), rawring::SetupError>(())
    /// ```
    #[must_use]
    pub fn registration(&self, registration: Registration) -> Registered {
        self.registrations.of(registration, self.level)
    }

    /// All registrations that the crate or the kernel knows.
    pub fn registrations(&self) -> impl Iterator<Item = Registered> + '_ {
        self.registrations.numbers().map(|registration| self.registration(registration))
    }

    /// The features of the kernel's rings.
    pub fn features(&self) -> impl Iterator<Item = Flag> + use<> {
        flags(Features::INFO, u64::from(self.features.bits()))
    }

    /// The setup flags: as the kernel says where it can be asked, else found by trying each.
    pub fn setup_flags(&self) -> impl Iterator<Item = Flag> + use<> {
        flags(SetupFlags::INFO, u64::from(self.setup_flags.bits()))
    }

    /// The flags of `io_uring_enter`. Nothing where the kernel cannot be [asked](Self::query).
    pub fn enter_flags(&self) -> impl Iterator<Item = Flag> + use<> {
        self.query.into_iter().flat_map(|answer| flags(EnterFlags::INFO, answer.enter_flags))
    }

    /// The flags that every entry has. Nothing where the kernel cannot be [asked](Self::query).
    pub fn sqe_flags(&self) -> impl Iterator<Item = Flag> + use<> {
        self.query.into_iter().flat_map(|answer| flags(SqeFlags::INFO, answer.sqe_flags))
    }

    /// Whether the kernel takes all of these setup flags; whether together is not said.
    #[must_use]
    pub fn supports_setup(&self, flags: SetupFlags) -> bool {
        self.setup_flags.bits() & flags.bits() == flags.bits()
    }

    /// Whether the kernel has all of these features.
    #[must_use]
    pub fn has(&self, features: Features) -> bool {
        self.features.bits() & features.bits() == features.bits()
    }

    /// What the kernel said of itself; `None` before Linux 6.18. It may have bits that this crate has no name for.
    #[must_use]
    pub fn query(&self) -> Option<&sys::io_uring_query_opcode> {
        self.query.as_ref()
    }

    /// The latest release of which this kernel has anything at all; never below 5.15. Variants are judged by it.
    #[must_use]
    pub fn level(&self) -> Version {
        self.level
    }
}

impl Limits {
    /// Has the kernel cut a ring to the largest that it makes, and tells how large that is. The ring, some megabytes,
    /// is there for as long as the call.
    ///
    /// # Errors
    ///
    /// Why the kernel made none: it may have too little memory for one this large.
    pub fn measure() -> Result<Limits, SetupError> {
        let ring = Setup::new(u32::MAX).cq_entries(u32::MAX).clamp().build()?;
        Ok(Limits { entries: ring.sq_entries(), cq_entries: ring.cq_entries() })
    }
}

/// The kernel's version as it calls itself, for people to read.
#[must_use]
pub fn kernel_release() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    Some(text.trim_end().to_owned())
}

/// The release whose features every kernel has that gets a ring.
const FLOOR: Version = Version::new(5, 15);

/// Which operations the kernel marked.
fn supported(room: &Room) -> [bool; 256] {
    let mut supported = [false; 256];
    for op in room.ops.iter().take(usize::from(room.head.ops_len)) {
        supported[usize::from(op.op)] = op.flags & sys::IO_URING_OP_SUPPORTED != 0;
    }
    supported
}

/// Each of these flags with whether it is in `bits`.
fn flags(infos: &'static [FlagInfo], bits: u64) -> impl Iterator<Item = Flag> {
    infos.iter().map(move |&info| Flag { info, supported: bits & info.bits == info.bits })
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unsupported { op, since, answer } = self;
        let finding = match answer {
            Answer::No => "this kernel does not have",
            _ => "this kernel seems too old for",
        };
        write!(f, "{finding} {} ({:?}), which came with Linux {since}", op.name, op.opcode)
    }
}

impl std::error::Error for Unsupported {}

/// What a probe is written into: the head and the operations after it.
#[repr(C)]
struct Room {
    head: sys::io_uring_probe,
    ops: [sys::io_uring_probe_op; 256],
}

impl Room {
    const EMPTY: Room = Room { head: sys::io_uring_probe::ZERO, ops: [sys::io_uring_probe_op::ZERO; 256] };

    fn ask(ring: &Ring) -> Result<Room, Errno> {
        let mut room = Room::EMPTY;
        // SAFETY: the argument is a zeroed head with room for as many operations as `count` says, written during the
        // call only.
        unsafe { ring.register_raw(sys::IORING_REGISTER_PROBE, (&raw mut room).cast(), room.ops.len() as u32) }?;
        Ok(room)
    }
}

/// Whether the kernel has this opcode, for a ring that wants to know nothing else.
pub(crate) fn has_opcode(ring: &Ring, opcode: u8) -> Result<bool, Errno> {
    Room::ask(ring).map(|room| supported(&room)[usize::from(opcode)])
}

// The kernel counts from the head on.
const _: () = assert!(
    size_of::<Room>() == size_of::<sys::io_uring_probe>() + 256 * size_of::<sys::io_uring_probe_op>()
        && size_of::<sys::io_uring_probe_op>() == 8
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Nop128, Timeout, TimeoutImmediate, TimeoutMulti};

    /// A kernel that has operations up to this one, and these features.
    fn kernel(last_op: u8, features: Features) -> Probe {
        let mut room = Room::EMPTY;
        for (number, op) in (0..=last_op).zip(&mut room.ops) {
            *op = sys::io_uring_probe_op { op: number, flags: sys::IO_URING_OP_SUPPORTED, ..*op };
        }
        room.head.last_op = last_op;
        room.head.ops_len = last_op + 1;
        let mut probe = Probe {
            supported: supported(&room),
            last_op,
            features,
            setup_flags: SetupFlags::empty(),
            query: None,
            registrations: registrations::Answers::NONE,
            level: FLOOR,
        };
        probe.level = probe.newest();
        probe
    }

    #[test]
    fn a_variant_is_judged_by_what_came_with_its_release() {
        // Linux 6.0, told by SEND_ZC, and the same with a feature of 6.12 on top.
        let older = kernel(sys::IORING_OP_SEND_ZC, Setup::FLOOR);
        assert_eq!(older.level(), Version::new(6, 0));
        let newer = kernel(sys::IORING_OP_SEND_ZC, Setup::FLOOR | Features::MIN_TIMEOUT);
        assert_eq!(newer.level(), Version::new(6, 12));

        for probe in [&older, &newer] {
            // What the kernel itself says does not depend on any release.
            assert_eq!((probe.answer(Timeout::INFO), probe.supports(Timeout::INFO)), (Answer::Yes, true));
            assert_eq!((probe.answer(Nop128::INFO), probe.supports(Nop128::INFO)), (Answer::No, false));
            assert_eq!(probe.answer(TimeoutImmediate::INFO), Answer::Unlikely);
        }
        // TIMEOUT_MULTISHOT came with 6.4.
        assert_eq!((older.answer(TimeoutMulti::INFO), older.supports(TimeoutMulti::INFO)), (Answer::Unlikely, false));
        assert_eq!((newer.answer(TimeoutMulti::INFO), newer.supports(TimeoutMulti::INFO)), (Answer::Likely, true));
        assert!(newer.require(TimeoutMulti::INFO).is_ok());
        let refusal = older.require(TimeoutMulti::INFO).expect_err("unlikely");
        assert_eq!((refusal.op.name, refusal.since), ("TimeoutMulti", Version::new(6, 4)));
        let text = refusal.to_string();
        assert!(text.contains("TimeoutMulti (IORING_OP_TIMEOUT)") && text.contains("Linux 6.4"), "{text}");
    }

    #[test]
    fn operations_that_nobody_here_knows_are_listed() {
        let probe = kernel(200, Setup::FLOOR);
        let last = probe.operations().last().expect("operations");
        assert_eq!(last, Operation { opcode: Opcode(200), supported: true, since: None });
        // And those that only this crate knows.
        let last = kernel(0, Setup::FLOOR).operations().last().expect("operations");
        assert_eq!((last.opcode, last.supported), (Opcode(sys::IORING_OP_LAST - 1), false));
    }

    #[test]
    fn a_kernel_that_knows_all_numbers_is_read_to_the_last() {
        let mut room = Room::EMPTY;
        room.ops[255] = sys::io_uring_probe_op { op: 255, flags: sys::IO_URING_OP_SUPPORTED, ..room.ops[255] };
        room.head.ops_len = 255;
        assert!(!supported(&room)[255], "the kernel says that it filled 255 of them");
    }
}
