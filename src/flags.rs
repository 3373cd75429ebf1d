//! Bit sets of the ring and of operations, where rustix has no type for them.
//!
//! Each line states the Rust name, the kernel's constant and the release that brought it; the set, its documentation
//! and the table that decoders, generators and diagnoses read ([`FlagInfo`]) all come from that line. Bits that the
//! crate does not know are kept everywhere (`from_bits_retain`): a newer kernel may know them.

use crate::version::Version;
use rawring_sys as sys;

/// One named bit, or combination of bits, of a set.
#[derive(Clone, Copy, Debug)]
pub struct FlagInfo {
    /// The kernel's name.
    pub name: &'static str,
    /// Its bits.
    pub bits: u64,
    /// The release that brought it.
    pub since: Version,
}

macro_rules! flags {
    ($(
        $(#[doc = $doc:literal])*
        $set:ident: $repr:ty {
            $( $(#[doc = $fdoc:literal])* $flag:ident = $kernel:ident, $since:literal; )*
        }
    )*) => { $(
        bitflags::bitflags! {
            $(#[doc = $doc])*
            #[repr(transparent)]
            #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
            pub struct $set: $repr {
                $(
                    $(#[doc = $fdoc])*
                    #[doc = concat!("\n\n`", stringify!($kernel), "`, Linux ", $since, ".")]
                    const $flag = sys::$kernel as $repr;
                )*
                /// Bits of newer kernels pass through.
                const _ = !0;
            }
        }

        impl $set {
            /// Every flag of this set with the kernel's name for it and its release.
            pub const INFO: &'static [FlagInfo] = &[
                $( FlagInfo {
                    name: stringify!($kernel),
                    bits: sys::$kernel as u64,
                    since: Version::parse($since),
                }, )*
            ];
        }

        crate::operand::flag_operand!($set, FlagNames::Table($set::INFO));
    )* };
}

/// Where the names of a set's bits come from.
#[derive(Clone, Copy)]
pub enum FlagNames {
    /// From one of this module's tables.
    Table(&'static [FlagInfo]),
    /// From a set of another crate: calls its argument with each name and its bits.
    Foreign(fn(&mut dyn FnMut(&'static str, u64))),
}

impl FlagNames {
    /// Calls `each` with every name and its bits.
    pub fn for_each(self, each: &mut dyn FnMut(&'static str, u64)) {
        match self {
            FlagNames::Table(rows) => rows.iter().for_each(|row| each(row.name, row.bits)),
            FlagNames::Foreign(list) => list(each),
        }
    }
}

impl core::fmt::Debug for FlagNames {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut list = f.debug_list();
        self.for_each(&mut |name, _| {
            list.entry(&name);
        });
        list.finish()
    }
}

flags! {
    /// Flags that every entry has.
    SqeFlags: u8 {
        /// The descriptor is an index into the registered files.
        FIXED_FILE = IOSQE_FIXED_FILE, "5.1";
        /// Start after all earlier entries completed; hold back all later ones.
        IO_DRAIN = IOSQE_IO_DRAIN, "5.2";
        /// The next entry starts when this one succeeded.
        IO_LINK = IOSQE_IO_LINK, "5.3";
        /// The next entry starts when this one completed, however.
        IO_HARDLINK = IOSQE_IO_HARDLINK, "5.5";
        /// Go to a worker thread at once.
        ASYNC = IOSQE_ASYNC, "5.6";
        /// The kernel picks a provided buffer.
        BUFFER_SELECT = IOSQE_BUFFER_SELECT, "5.7";
        /// No completion on success.
        CQE_SKIP_SUCCESS = IOSQE_CQE_SKIP_SUCCESS, "5.17";
    }

    /// The lower half of a completion's flags; the upper half is the buffer id.
    CqeFlags: u32 {
        /// The upper half of the word is the id of a provided buffer.
        BUFFER = IORING_CQE_F_BUFFER, "5.7";
        /// More completions of the same operation follow.
        MORE = IORING_CQE_F_MORE, "5.13";
        /// The socket held more when this was posted.
        SOCK_NONEMPTY = IORING_CQE_F_SOCK_NONEMPTY, "5.19";
        /// The notification of a zero-copy send.
        NOTIF = IORING_CQE_F_NOTIF, "6.0";
        /// The buffer of an incremental buffer ring has room left and will be used again.
        BUF_MORE = IORING_CQE_F_BUF_MORE, "6.12";
        /// A filler at the end of a mixed completion ring.
        SKIP = IORING_CQE_F_SKIP, "6.18";
        /// A 32-byte completion in a mixed ring.
        WIDE = IORING_CQE_F_32, "6.18";
    }

    /// How a ring is made; see [`crate::Setup`].
    SetupFlags: u32 {
        /// Completions are found by polling the device instead of by interrupt.
        IOPOLL = IORING_SETUP_IOPOLL, "5.1";
        /// A kernel thread takes entries from the submission queue.
        SQPOLL = IORING_SETUP_SQPOLL, "5.1";
        /// That thread is bound to a processor.
        SQ_AFF = IORING_SETUP_SQ_AFF, "5.1";
        /// The completion queue has a size of its own.
        CQSIZE = IORING_SETUP_CQSIZE, "5.5";
        /// Sizes beyond the kernel's limits are cut to them.
        CLAMP = IORING_SETUP_CLAMP, "5.6";
        /// Shares the polling thread, or the workers, of another ring.
        ATTACH_WQ = IORING_SETUP_ATTACH_WQ, "5.6";
        /// Starts disabled.
        R_DISABLED = IORING_SETUP_R_DISABLED, "5.10";
        /// A submission goes on past an entry that fails.
        SUBMIT_ALL = IORING_SETUP_SUBMIT_ALL, "5.18";
        /// Completions do not interrupt the task; they run when it next enters the kernel.
        COOP_TASKRUN = IORING_SETUP_COOP_TASKRUN, "5.19";
        /// The submission queue's flags say when the kernel has to be entered for completions.
        TASKRUN_FLAG = IORING_SETUP_TASKRUN_FLAG, "5.19";
        /// Entries of 128 bytes.
        SQE128 = IORING_SETUP_SQE128, "5.19";
        /// Completions of 32 bytes.
        CQE32 = IORING_SETUP_CQE32, "5.19";
        /// Only one task submits.
        SINGLE_ISSUER = IORING_SETUP_SINGLE_ISSUER, "6.0";
        /// Completions run only when that task asks for them.
        DEFER_TASKRUN = IORING_SETUP_DEFER_TASKRUN, "6.1";
        /// The rings lie in memory of the application.
        NO_MMAP = IORING_SETUP_NO_MMAP, "6.5";
        /// The ring has no descriptor, only an index in the task's table of registered rings.
        REGISTERED_FD_ONLY = IORING_SETUP_REGISTERED_FD_ONLY, "6.5";
        /// No array of indices between the submission queue and the entries.
        NO_SQARRAY = IORING_SETUP_NO_SQARRAY, "6.6";
        /// Polling for completions starts with a sleep.
        HYBRID_IOPOLL = IORING_SETUP_HYBRID_IOPOLL, "6.13";
        /// Completions of 16 and of 32 bytes in one ring.
        CQE_MIXED = IORING_SETUP_CQE_MIXED, "6.18";
        /// Entries of 64 and of 128 bytes in one ring.
        SQE_MIXED = IORING_SETUP_SQE_MIXED, "6.19";
        /// Entries are always taken from the start of the queue.
        SQ_REWIND = IORING_SETUP_SQ_REWIND, "7.0";
    }

    /// What a kernel says of itself when a ring is made.
    Features: u32 {
        /// Both rings are in one mapping.
        SINGLE_MMAP = IORING_FEAT_SINGLE_MMAP, "5.4";
        /// Completions that find the queue full are kept, not dropped.
        NODROP = IORING_FEAT_NODROP, "5.5";
        /// What an entry passes in is read when the entry is taken.
        SUBMIT_STABLE = IORING_FEAT_SUBMIT_STABLE, "5.5";
        /// Offset -1 means the file's own position.
        RW_CUR_POS = IORING_FEAT_RW_CUR_POS, "5.6";
        /// Operations run with the credentials of the task that enters.
        CUR_PERSONALITY = IORING_FEAT_CUR_PERSONALITY, "5.6";
        /// Blocking reads wait by poll, without a worker.
        FAST_POLL = IORING_FEAT_FAST_POLL, "5.7";
        /// Poll masks have 32 bits.
        POLL_32BITS = IORING_FEAT_POLL_32BITS, "5.9";
        /// SQPOLL works with ordinary descriptors.
        SQPOLL_NONFIXED = IORING_FEAT_SQPOLL_NONFIXED, "5.11";
        /// `io_uring_enter` takes a timeout along with a signal mask.
        EXT_ARG = IORING_FEAT_EXT_ARG, "5.11";
        /// Workers are threads of the process.
        NATIVE_WORKERS = IORING_FEAT_NATIVE_WORKERS, "5.12";
        /// Registered resources have tags.
        RSRC_TAGS = IORING_FEAT_RSRC_TAGS, "5.13";
        /// Entries may ask for no completion on success.
        CQE_SKIP = IORING_FEAT_CQE_SKIP, "5.17";
        /// The file of a linked entry is looked up when that entry starts.
        LINKED_FILE = IORING_FEAT_LINKED_FILE, "5.17";
        /// `io_uring_register` takes a registered ring index.
        REG_REG_RING = IORING_FEAT_REG_REG_RING, "6.3";
        /// Sends and receives in bundles of buffers.
        RECVSEND_BUNDLE = IORING_FEAT_RECVSEND_BUNDLE, "6.10";
        /// Waits may have a minimum time.
        MIN_TIMEOUT = IORING_FEAT_MIN_TIMEOUT, "6.12";
        /// Reads and writes take attributes.
        RW_ATTR = IORING_FEAT_RW_ATTR, "6.14";
        /// A wait can be kept out of the I/O wait statistics.
        NO_IOWAIT = IORING_FEAT_NO_IOWAIT, "6.15";
    }

    /// Flags of `io_uring_enter`.
    EnterFlags: u32 {
        /// Wait for, or at least collect, completions.
        GETEVENTS = IORING_ENTER_GETEVENTS, "5.1";
        /// Wake the polling thread.
        SQ_WAKEUP = IORING_ENTER_SQ_WAKEUP, "5.1";
        /// Wait for room in the submission queue of a polled ring.
        SQ_WAIT = IORING_ENTER_SQ_WAIT, "5.10";
        /// The argument is `struct io_uring_getevents_arg`.
        EXT_ARG = IORING_ENTER_EXT_ARG, "5.11";
        /// The descriptor is an index in the task's table of registered rings.
        REGISTERED_RING = IORING_ENTER_REGISTERED_RING, "5.18";
        /// The timeout is a point in time.
        ABS_TIMER = IORING_ENTER_ABS_TIMER, "6.12";
        /// The argument is an offset into a registered region of wait arguments.
        EXT_ARG_REG = IORING_ENTER_EXT_ARG_REG, "6.13";
        /// Do not count the wait as I/O wait.
        NO_IOWAIT = IORING_ENTER_NO_IOWAIT, "6.15";
    }

    /// Flags of [`Nop`](crate::op::Nop).
    NopFlags: u32 {
        /// The result is the entry's `len`.
        INJECT_RESULT = IORING_NOP_INJECT_RESULT, "6.10";
        /// Take and release a reference to the file.
        FILE = IORING_NOP_FILE, "6.13";
        /// The file is a registered one.
        FIXED_FILE = IORING_NOP_FIXED_FILE, "6.13";
        /// Take and release a reference to a registered buffer.
        FIXED_BUFFER = IORING_NOP_FIXED_BUFFER, "6.13";
        /// Complete through task work.
        TW = IORING_NOP_TW, "6.17";
        /// Post a 32-byte completion.
        CQE32 = IORING_NOP_CQE32, "6.18";
    }

    /// Flags of [`Fsync`](crate::op::Fsync).
    FsyncFlags: u32 {
        /// Only the data, and the metadata needed to read it back.
        DATASYNC = IORING_FSYNC_DATASYNC, "5.1";
    }

    /// Flags of timeouts.
    TimeoutFlags: u32 {
        /// The time is a point, not a span.
        ABS = IORING_TIMEOUT_ABS, "5.5";
        /// Change a timeout that is running.
        UPDATE = IORING_TIMEOUT_UPDATE, "5.11";
        /// Measured by the clock that goes on during suspend.
        BOOTTIME = IORING_TIMEOUT_BOOTTIME, "5.15";
        /// Measured by the wall clock.
        REALTIME = IORING_TIMEOUT_REALTIME, "5.15";
        /// Change a linked timeout that is running.
        LINK_UPDATE = IORING_LINK_TIMEOUT_UPDATE, "5.15";
        /// Expiry does not break a chain of links.
        ETIME_SUCCESS = IORING_TIMEOUT_ETIME_SUCCESS, "5.16";
        /// Expire again and again.
        MULTISHOT = IORING_TIMEOUT_MULTISHOT, "6.4";
        /// The time stands in the entry itself, in nanoseconds.
        IMMEDIATE_ARG = IORING_TIMEOUT_IMMEDIATE_ARG, "7.1";
    }

    /// How the target of a cancellation is found.
    CancelFlags: u32 {
        /// All that match, not only the first.
        ALL = IORING_ASYNC_CANCEL_ALL, "5.19";
        /// By file.
        FD = IORING_ASYNC_CANCEL_FD, "5.19";
        /// Whatever is there.
        ANY = IORING_ASYNC_CANCEL_ANY, "5.19";
        /// By registered file.
        FD_FIXED = IORING_ASYNC_CANCEL_FD_FIXED, "6.0";
        /// By `user_data`.
        USERDATA = IORING_ASYNC_CANCEL_USERDATA, "6.6";
        /// By operation.
        OP = IORING_ASYNC_CANCEL_OP, "6.6";
    }

    /// The `IORING_*` flags of sends and receives, carried in `ioprio`.
    RecvSendFlags: u16 {
        /// Wait for readiness before the first attempt.
        POLL_FIRST = IORING_RECVSEND_POLL_FIRST, "5.19";
        /// Go on receiving.
        MULTISHOT = IORING_RECV_MULTISHOT, "6.0";
        /// The data lies in a registered buffer.
        FIXED_BUF = IORING_RECVSEND_FIXED_BUF, "6.0";
        /// The notification tells whether data was copied.
        REPORT_USAGE = IORING_SEND_ZC_REPORT_USAGE, "6.2";
        /// As many buffers as there are.
        BUNDLE = IORING_RECVSEND_BUNDLE, "6.10";
        /// The address is that of an array of `iovec`.
        VECTORIZED = IORING_SEND_VECTORIZED, "6.17";
    }

    /// The `IORING_*` flags of accept, carried in `ioprio`.
    AcceptFlags: u16 {
        /// Go on accepting.
        MULTISHOT = IORING_ACCEPT_MULTISHOT, "5.19";
        /// Fail with `EAGAIN` instead of waiting.
        DONTWAIT = IORING_ACCEPT_DONTWAIT, "6.10";
        /// Wait for readiness before the first attempt.
        POLL_FIRST = IORING_ACCEPT_POLL_FIRST, "6.10";
    }

    /// Flags of messages between rings.
    MsgRingFlags: u32 {
        /// No completion on the target ring (only when passing a file).
        CQE_SKIP = IORING_MSG_RING_CQE_SKIP, "6.0";
        /// The completion's flags are given by the sender.
        FLAGS_PASS = IORING_MSG_RING_FLAGS_PASS, "6.3";
    }

    /// Flags of [`FixedFdInstall`](crate::op::FixedFdInstall).
    FixedFdInstallFlags: u32 {
        /// The new descriptor stays open across exec.
        NO_CLOEXEC = IORING_FIXED_FD_NO_CLOEXEC, "6.8";
    }

    /// Flags of driver commands.
    UringCmdFlags: u32 {
        /// The command uses a registered buffer.
        FIXED = IORING_URING_CMD_FIXED, "6.1";
        /// The command posts many completions.
        MULTISHOT = IORING_URING_CMD_MULTISHOT, "6.18";
    }

    /// Flags of the 32-bit poll operations, carried in `len`.
    PollFlags: u32 {
        /// Go on reporting.
        MULTI = IORING_POLL_ADD_MULTI, "5.13";
        /// Change the events of a poll that is running.
        UPDATE_EVENTS = IORING_POLL_UPDATE_EVENTS, "5.13";
        /// Change its `user_data`.
        UPDATE_USER_DATA = IORING_POLL_UPDATE_USER_DATA, "5.13";
        /// Report as long as the condition holds, not only when it begins. In the header, but no release accepts it.
        LEVEL = IORING_POLL_ADD_LEVEL, "6.0";
    }
}
