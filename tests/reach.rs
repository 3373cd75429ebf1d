//! Every register number, setup flag, enter flag, feature and completion flag of the header, and the typed item by which
//! it is reached. A constant without one fails here; an item that is gone does not compile.

mod common;

use std::collections::BTreeMap;

use rawring::flags::Features;
use rawring::op::TxTimestamp;
use rawring::register::RegistrationInfo;
use rawring::{Cqe, Ring, Setup, Wait};

/// The header of the release that the crate mirrors, as a compiler saw it.
const HEADER: &str = include_str!("../sys/tests/linux-7.3.tsv");

macro_rules! items {
    ($($constant:ident => $item:path;)*) => {
        [$( (stringify!($constant), { let _ = $item; stringify!($item) }), )*]
    };
}

/// What has no table of its own that names items, as registrations have.
fn items() -> BTreeMap<&'static str, &'static str> {
    let items = items! {
        IORING_SETUP_IOPOLL => Setup::iopoll;
        IORING_SETUP_SQPOLL => Setup::sqpoll;
        IORING_SETUP_SQ_AFF => Setup::sqpoll_cpu;
        IORING_SETUP_CQSIZE => Setup::cq_entries;
        IORING_SETUP_CLAMP => Setup::clamp;
        IORING_SETUP_ATTACH_WQ => Setup::attach;
        IORING_SETUP_R_DISABLED => Setup::disabled;
        IORING_SETUP_SUBMIT_ALL => Setup::submit_all;
        IORING_SETUP_COOP_TASKRUN => Setup::coop_taskrun;
        IORING_SETUP_TASKRUN_FLAG => Setup::taskrun_flag;
        IORING_SETUP_SQE128 => Setup::sqe128;
        IORING_SETUP_CQE32 => Setup::cqe32;
        IORING_SETUP_SINGLE_ISSUER => Setup::single_issuer;
        IORING_SETUP_DEFER_TASKRUN => Setup::defer_taskrun;
        IORING_SETUP_NO_MMAP => Setup::no_mmap;
        IORING_SETUP_REGISTERED_FD_ONLY => Setup::registered_fd_only;
        IORING_SETUP_NO_SQARRAY => Setup::no_sqarray;
        IORING_SETUP_HYBRID_IOPOLL => Setup::hybrid_iopoll;
        IORING_SETUP_CQE_MIXED => Setup::cqe_mixed;
        IORING_SETUP_SQE_MIXED => Setup::sqe_mixed;
        IORING_SETUP_SQ_REWIND => Setup::sq_rewind;

        IORING_ENTER_GETEVENTS => Ring::get_events;
        IORING_ENTER_SQ_WAKEUP => Ring::submit;
        IORING_ENTER_SQ_WAIT => Ring::wait_for_room;
        IORING_ENTER_EXT_ARG => Wait::timeout;
        IORING_ENTER_REGISTERED_RING => Setup::registered_fd_only;
        IORING_ENTER_ABS_TIMER => Wait::deadline;
        IORING_ENTER_EXT_ARG_REG => Wait::registered;
        IORING_ENTER_NO_IOWAIT => Wait::no_iowait;

        IORING_FEAT_SINGLE_MMAP => Features::SINGLE_MMAP;
        IORING_FEAT_NODROP => Features::NODROP;
        IORING_FEAT_SUBMIT_STABLE => Features::SUBMIT_STABLE;
        IORING_FEAT_RW_CUR_POS => Features::RW_CUR_POS;
        IORING_FEAT_CUR_PERSONALITY => Features::CUR_PERSONALITY;
        IORING_FEAT_FAST_POLL => Features::FAST_POLL;
        IORING_FEAT_POLL_32BITS => Features::POLL_32BITS;
        IORING_FEAT_SQPOLL_NONFIXED => Features::SQPOLL_NONFIXED;
        IORING_FEAT_EXT_ARG => Features::EXT_ARG;
        IORING_FEAT_NATIVE_WORKERS => Features::NATIVE_WORKERS;
        IORING_FEAT_RSRC_TAGS => Features::RSRC_TAGS;
        IORING_FEAT_CQE_SKIP => Features::CQE_SKIP;
        IORING_FEAT_LINKED_FILE => Features::LINKED_FILE;
        IORING_FEAT_REG_REG_RING => Features::REG_REG_RING;
        IORING_FEAT_RECVSEND_BUNDLE => Features::RECVSEND_BUNDLE;
        IORING_FEAT_MIN_TIMEOUT => Features::MIN_TIMEOUT;
        IORING_FEAT_RW_ATTR => Features::RW_ATTR;
        IORING_FEAT_NO_IOWAIT => Features::NO_IOWAIT;

        IORING_CQE_F_BUFFER => Cqe::buffer_id;
        IORING_CQE_F_MORE => Cqe::more;
        IORING_CQE_F_SOCK_NONEMPTY => Cqe::socket_nonempty;
        IORING_CQE_F_NOTIF => Cqe::is_notification;
        IORING_CQE_F_BUF_MORE => Cqe::buffer_more;
        IORING_CQE_F_SKIP => Cqe::is_filler;
        IORING_CQE_F_32 => Cqe::big;
        IORING_CQE_F_TSTAMP_HW => TxTimestamp::read;
    };
    items.into_iter().collect()
}

/// The constants of the header that begin so, but for a flag that is no registration.
fn constants(prefixes: &[&str]) -> Vec<&'static str> {
    let rows = HEADER.lines().filter(|row| row.starts_with("const\tlinux/io_uring.h\t"));
    let names = rows.filter_map(|row| row.split('\t').nth(2));
    names.filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))).collect()
}

#[test]
fn every_flag_of_the_header_is_reached_by_an_item() {
    let items = items();
    let all = constants(&["IORING_SETUP_", "IORING_ENTER_", "IORING_FEAT_", "IORING_CQE_F_"]);
    let missing: Vec<_> = all.iter().filter(|name| !items.contains_key(*name)).collect();
    assert_eq!(missing, [&""; 0]);
    let foreign: Vec<_> = items.keys().filter(|name| !all.contains(name)).collect();
    assert_eq!(foreign, [&""; 0], "not in the header");
}

#[test]
fn every_registration_of_the_header_is_a_typed_call() {
    let rows = HEADER.lines().filter(|row| row.ends_with("\tenum io_uring_register_op"));
    let names: Vec<_> = rows.filter_map(|row| row.split('\t').nth(2)).collect();
    assert_eq!(names.len(), RegistrationInfo::ALL.len() + 2);
    // The end of the list, and a flag beside the number, which calls through a registered ring have.
    let numbers =
        names.iter().filter(|name| !matches!(**name, "IORING_REGISTER_LAST" | "IORING_REGISTER_USE_REGISTERED_RING"));
    let raw: Vec<_> = numbers
        .filter(|name| !RegistrationInfo::ALL.iter().any(|row| row.name() == **name && row.is_typed()))
        .collect();
    assert_eq!(raw, [&""; 0], "these can be made by register_raw only");
}

#[test]
fn what_this_kernel_lacks_is_said() {
    let probe = common::probe();
    let flags = probe.setup_flags().chain(probe.enter_flags()).chain(probe.features()).chain(probe.sqe_flags());
    let (here, lacking): (Vec<_>, Vec<_>) = flags.partition(|flag| flag.supported);
    let lacking = lacking.iter().map(|flag| format!("{} (Linux {})", flag.info.name, flag.info.since));
    let registrations = probe.registrations().filter(|one| one.missing.is_some());
    let registrations = registrations
        .map(|one| format!("{:?} (Linux {})", one.registration, one.registration.info().expect("a row").since));
    let lacking: Vec<_> = lacking.chain(registrations).collect();
    assert!(here.len() >= 18, "Linux 5.15 has as many: {}", here.len());
    if !lacking.is_empty() {
        let reason = format!("cannot run here, since this kernel lacks them: {}", lacking.join(", "));
        common::skipped("what_this_kernel_lacks_is_said", &reason);
    }
}
