//! The table of registrations: every operation of `io_uring_register`, and which item of this crate makes the call.
//!
//! One row a number: the release, what the argument points at, how the kernel wants it counted (which is irregular),
//! in which states of a ring the call works, and the item. Order and numbers are the header's, checked when this is
//! compiled; that the kernel counts and refuses as it says here is checked against the kernel
//! (`tests/register_table.rs`).
//!
//! Not here: what a running kernel has of them. That is [`Probe::registrations`](crate::probe::Probe::registrations).

use core::fmt;
use core::mem::size_of;

use crate::buf_ring::BufRingSetup;
use crate::ring::Ring;
use crate::version::Version;
use rawring_sys as sys;

/// The number of a registration. Numbers that the crate does not know are as good as others, for
/// [`Ring::register_raw`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Registration(pub u32);

impl Registration {
    /// The kernel's name, `IORING_REGISTER_…` or `IORING_UNREGISTER_…`.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        // The names leave out a flag beside the number, which here is a part of it.
        if self.0 < sys::IORING_REGISTER_LAST { sys::register_name(self.0) } else { None }
    }

    /// What is known of it.
    #[must_use]
    pub fn info(self) -> Option<&'static RegistrationInfo> {
        RegistrationInfo::ALL.get(self.0 as usize)
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "IORING_REGISTER_{}", self.0),
        }
    }
}

/// What the last argument of the system call counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// Nothing: it is this number, always.
    Exactly(u32),
    /// The elements of the array that the argument is, or names.
    Elements,
    /// The bytes of the argument, a struct of this size.
    Size(u32),
    /// The bytes of the argument, as many as the caller has.
    Bytes,
    /// It is no count, but the argument itself: the number of what is meant.
    Id,
}

/// In which state a ring has to be for a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RingState {
    /// In any: disabled or enabled.
    Any,
    /// [Disabled](crate::Setup::disabled); otherwise the kernel answers `EBADFD`.
    Disabled,
    /// There is no ring for it: the call is made [without one](RegistrationInfo::without_ring) only.
    None,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RegistrationInfo {
    /// Its number.
    pub registration: Registration,
    /// The release that brought it.
    pub since: Version,
    /// The C type of what the argument points at; empty where the argument has to be null.
    pub argument: &'static str,
    /// What the count counts.
    pub count: Count,
    /// In which state a ring has to be.
    pub ring: RingState,
    /// The release from which on the call is possible without a ring (with -1 for its descriptor).
    pub without_ring: Option<Version>,
    /// The item of this crate that makes the call; [`Ring::register_raw`] makes all of them.
    pub item: &'static str,
}

impl RegistrationInfo {
    /// The kernel's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        sys::REGISTER_NAMES[self.registration.0 as usize]
    }

    /// Whether one of this crate's typed calls makes it, and not only [`Ring::register_raw`].
    #[must_use]
    pub fn is_typed(&self) -> bool {
        !self.item.ends_with("register_raw")
    }
}

const fn release(text: &str) -> Option<Version> {
    if text.is_empty() { None } else { Some(Version::parse(text)) }
}

const fn size<T>() -> Count {
    Count::Size(size_of::<T>() as u32)
}

/// A path from the crate on, without the generic arguments of its last part.
const fn plain(path: &str) -> &str {
    const CRATE: &[u8] = b"crate::";
    let mut bytes = path.as_bytes();
    if bytes[0] == CRATE[0] {
        bytes = bytes.split_at(CRATE.len()).1;
    }
    let mut end = 0;
    while end < bytes.len() && bytes[end] != b'<' {
        end += 1;
    }
    if end < bytes.len() {
        bytes = bytes.split_at(end - "::".len()).0;
    }
    match core::str::from_utf8(bytes) {
        Ok(path) => path,
        Err(_) => panic!("a path of this crate is ASCII"),
    }
}

macro_rules! registrations {
    ($(
        $name:ident = $kernel:ident, $since:literal, $argument:literal, $count:expr,
            $state:ident, $without:literal, $item:path;
    )*) => {
        impl Registration {
            $(
                #[doc = concat!("[`", stringify!($kernel), "`](sys::", stringify!($kernel), "), Linux ", $since, ".")]
                pub const $name: Registration = Registration(sys::$kernel);
            )*
        }

        impl RegistrationInfo {
            /// All rows; the index is the number.
            pub const ALL: &'static [RegistrationInfo] = &[
                $( RegistrationInfo {
                    registration: Registration::$name,
                    since: Version::parse($since),
                    argument: $argument,
                    count: $count,
                    ring: RingState::$state,
                    without_ring: release($without),
                    item: {
                        // An item that goes away or changes its name takes its row along.
                        let _ = $item;
                        plain(stringify!($item))
                    },
                }, )*
            ];
        }
    };
}

use Count::{Bytes, Elements, Exactly, Id};

// The name, the kernel's name, since, what the argument points at, what the count counts, the state of the ring, since
// when without a ring, the item.
registrations! {
    BUFFERS = IORING_REGISTER_BUFFERS, "5.1", "iovec", Elements, Any, "", Ring::register_sparse_buffers;
    UNREGISTER_BUFFERS = IORING_UNREGISTER_BUFFERS, "5.1", "", Exactly(0), Any, "", Ring::unregister_buffers;

    FILES = IORING_REGISTER_FILES, "5.1", "int", Elements, Any, "", Ring::register_files;
    UNREGISTER_FILES = IORING_UNREGISTER_FILES, "5.1", "", Exactly(0), Any, "", Ring::unregister_files;

    EVENTFD = IORING_REGISTER_EVENTFD, "5.2", "int", Exactly(1), Any, "", Ring::register_eventfd;
    UNREGISTER_EVENTFD = IORING_UNREGISTER_EVENTFD, "5.2", "", Exactly(0), Any, "", Ring::register_eventfd;

    FILES_UPDATE = IORING_REGISTER_FILES_UPDATE, "5.5", "io_uring_rsrc_update", Elements, Any, "", Ring::update_files;

    EVENTFD_ASYNC = IORING_REGISTER_EVENTFD_ASYNC, "5.6", "int", Exactly(1), Any, "", Ring::register_eventfd_async;

    PROBE = IORING_REGISTER_PROBE, "5.6", "io_uring_probe", Elements, Any, "", crate::probe::Probe::of;

    PERSONALITY = IORING_REGISTER_PERSONALITY, "5.6", "", Exactly(0), Any, "", Ring::register_personality;
    UNREGISTER_PERSONALITY = IORING_UNREGISTER_PERSONALITY, "5.6", "", Id, Any, "", Ring::unregister_personality;

    RESTRICTIONS = IORING_REGISTER_RESTRICTIONS, "5.10", "io_uring_restriction", Elements, Disabled, "7.0",
        Ring::restrict;

    ENABLE_RINGS = IORING_REGISTER_ENABLE_RINGS, "5.10", "", Exactly(0), Disabled, "", Ring::enable;

    FILES2 = IORING_REGISTER_FILES2, "5.13", "io_uring_rsrc_register", size::<sys::io_uring_rsrc_register>(),
        Any, "", Ring::register_files_tagged;
    FILES_UPDATE2 = IORING_REGISTER_FILES_UPDATE2, "5.13", "io_uring_rsrc_update2",
        size::<sys::io_uring_rsrc_update2>(), Any, "", Ring::update_files_tagged;

    BUFFERS2 = IORING_REGISTER_BUFFERS2, "5.13", "io_uring_rsrc_register", size::<sys::io_uring_rsrc_register>(),
        Any, "", Ring::register_borrowed_buffers;
    BUFFERS_UPDATE = IORING_REGISTER_BUFFERS_UPDATE, "5.13", "io_uring_rsrc_update2",
        size::<sys::io_uring_rsrc_update2>(), Any, "", Ring::clear_buffers;

    IOWQ_AFF = IORING_REGISTER_IOWQ_AFF, "5.14", "cpu_set_t", Bytes, Any, "", Ring::register_worker_affinity;
    UNREGISTER_IOWQ_AFF = IORING_UNREGISTER_IOWQ_AFF, "5.14", "", Exactly(0), Any, "", Ring::unregister_worker_affinity;
    IOWQ_MAX_WORKERS = IORING_REGISTER_IOWQ_MAX_WORKERS, "5.15", "unsigned int[2]", Exactly(2), Any, "",
        Ring::limit_workers;

    RING_FDS = IORING_REGISTER_RING_FDS, "5.18", "io_uring_rsrc_update", Elements, Any, "", Ring::register_ring_fd;
    UNREGISTER_RING_FDS = IORING_UNREGISTER_RING_FDS, "5.18", "io_uring_rsrc_update", Elements, Any, "",
        Ring::unregister_ring_fd;

    PBUF_RING = IORING_REGISTER_PBUF_RING, "5.19", "io_uring_buf_reg", Exactly(1), Any, "",
        BufRingSetup::build;
    UNREGISTER_PBUF_RING = IORING_UNREGISTER_PBUF_RING, "5.19", "io_uring_buf_reg", Exactly(1), Any, "",
        Ring::unregister_buf_ring;

    SYNC_CANCEL = IORING_REGISTER_SYNC_CANCEL, "6.0", "io_uring_sync_cancel_reg", Exactly(1), Any, "",
        Ring::sync_cancel::<crate::op::CancelAny<'static>>;

    FILE_ALLOC_RANGE = IORING_REGISTER_FILE_ALLOC_RANGE, "6.0", "io_uring_file_index_range", Exactly(0), Any, "",
        Ring::file_alloc_range;

    PBUF_STATUS = IORING_REGISTER_PBUF_STATUS, "6.8", "io_uring_buf_status", Exactly(1), Any, "", Ring::buf_ring_head;

    NAPI = IORING_REGISTER_NAPI, "6.9", "io_uring_napi", Exactly(1), Any, "", Ring::register_napi;
    UNREGISTER_NAPI = IORING_UNREGISTER_NAPI, "6.9", "io_uring_napi", Exactly(1), Any, "", Ring::unregister_napi;

    CLOCK = IORING_REGISTER_CLOCK, "6.12", "io_uring_clock_register", Exactly(0), Any, "", Ring::register_clock;

    CLONE_BUFFERS = IORING_REGISTER_CLONE_BUFFERS, "6.12", "io_uring_clone_buffers", Exactly(1), Any, "",
        Ring::clone_buffers;

    SEND_MSG_RING = IORING_REGISTER_SEND_MSG_RING, "6.13", "io_uring_sqe", Exactly(1), None, "6.13",
        crate::register::send_message;

    ZCRX_IFQ = IORING_REGISTER_ZCRX_IFQ, "6.15", "io_uring_zcrx_ifq_reg", Exactly(1), Any, "", Ring::register_zcrx;

    RESIZE_RINGS = IORING_REGISTER_RESIZE_RINGS, "6.13", "io_uring_params", Exactly(1), Any, "", Ring::resize;

    MEM_REGION = IORING_REGISTER_MEM_REGION, "6.13", "io_uring_mem_region_reg", Exactly(1), Any, "",
        Ring::register_waits;

    QUERY = IORING_REGISTER_QUERY, "6.18", "io_uring_query_hdr", Exactly(0), Any, "6.18",
        crate::probe::query::<sys::io_uring_query_opcode>;

    ZCRX_CTRL = IORING_REGISTER_ZCRX_CTRL, "6.19", "zcrx_ctrl", Exactly(0), Any, "", Ring::flush_zcrx;

    BPF_FILTER = IORING_REGISTER_BPF_FILTER, "7.0", "io_uring_bpf", Exactly(1), Any, "7.0", Ring::register_filter;
}

const _: () = {
    assert!(RegistrationInfo::ALL.len() == sys::IORING_REGISTER_LAST as usize, "a row for each number");
    let mut number = 0;
    while number < RegistrationInfo::ALL.len() {
        assert!(RegistrationInfo::ALL[number].registration.0 as usize == number, "rows are in the header's order");
        number += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_header_has_a_row_of_its_name() {
        assert_eq!(RegistrationInfo::ALL.len(), sys::REGISTER_NAMES.len());
        for (row, (number, name)) in RegistrationInfo::ALL.iter().zip((0..).zip(sys::REGISTER_NAMES)) {
            assert_eq!((row.registration, row.name()), (Registration(number), *name));
            assert_eq!(row.registration.info().map(RegistrationInfo::name), Some(*name));
            assert_eq!(format!("{:?}", row.registration), *name);
            assert!(row.item.contains("::"), "{name}: {} is no path", row.item);
            assert!(row.ring != RingState::None || row.without_ring.is_some(), "{name} would work nowhere");
            assert!(row.without_ring.is_none_or(|release| release >= row.since), "{name}");
            assert!(!row.item.contains(['<', ' ']) && !row.item.starts_with("crate"), "{name}: {}", row.item);
            // What drops a registration came with what makes it.
            let partner = name.replace("UNREGISTER", "REGISTER");
            let partner = RegistrationInfo::ALL.iter().find(|row| row.name() == partner).expect("a partner");
            assert_eq!(partner.since, row.since, "{name}");
        }
    }

    #[test]
    fn an_unknown_number_has_a_name_and_no_row() {
        let unknown = Registration(sys::IORING_REGISTER_LAST);
        assert_eq!((format!("{unknown:?}"), unknown.name()), ("IORING_REGISTER_38".to_owned(), None));
        assert!(unknown.info().is_none());
        let flagged = Registration(sys::IORING_REGISTER_USE_REGISTERED_RING);
        assert!(flagged.info().is_none() && flagged.name().is_none());
    }
}
