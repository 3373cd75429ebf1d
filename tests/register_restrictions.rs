//! Restrictions of a ring, and of a thread and what it starts.

mod common;
#[path = "common/io.rs"]
mod io;
#[path = "common/user.rs"]
mod user;

use common::{in_own_process, needs, since};
use io::{result, ring};
use rawring::flags::SqeFlags;
use rawring::op::*;
use rawring::register::{Registration, Restrictions, send_message};
use rawring::{Errno, Ring, ScopeError, Setup, UserData, Version};
use user::as_user;

/// A ring that is restricted and enabled.
fn restricted(restrictions: &Restrictions) -> Ring {
    let mut ring = Setup::new(8).disabled().build().expect("a ring");
    ring.restrict(restrictions).expect("restricted");
    ring.enable().expect("enabled");
    ring
}

#[test]
fn item_39_a_ring_does_what_its_list_allows() {
    let list = Restrictions::new()
        .allow(Nop::INFO)
        .allow_flags(SqeFlags::IO_LINK | SqeFlags::ASYNC)
        .allow_registration(Registration::FILES)
        .allow_registration(Registration::UNREGISTER_FILES);
    let mut ring = restricted(&list);
    assert_eq!(result(&mut ring, Nop::new()), Ok(0));
    assert_eq!(result(&mut ring, Nop::new().force_async()), Ok(0));
    assert_eq!(result(&mut ring, Nop::new().drain()), Err(Errno::ACCESS));
    assert_eq!(result(&mut ring, CancelAny::new()), Err(Errno::ACCESS));
    ring.register_files(&[rawring::operand::FileSlot::CLEAR]).expect("allowed");
    assert_eq!(ring.update_files(0, &[rawring::operand::FileSlot::CLEAR]), Err(Errno::ACCESS));
    assert_eq!(ring.register_personality(), Err(Errno::ACCESS));
    assert_eq!(ring.unregister_files(), Ok(()));
    // The safe doors ask the kernel, which they may not here.
    assert_eq!(ring.scope(|_| ()), Err(ScopeError::Probe(Errno::ACCESS)));
    // Handing the ring over changes nothing.
    let elsewhere = std::thread::spawn(move || ring.register_personality().err());
    assert_eq!(elsewhere.join().expect("no panic"), Some(Errno::ACCESS));
}

#[test]
fn item_39_flags_can_be_demanded() {
    let mut ring = restricted(&Restrictions::new().allow(Nop::INFO).require_flags(SqeFlags::ASYNC));
    assert_eq!(result(&mut ring, Nop::new().force_async()), Ok(0));
    assert_eq!(result(&mut ring, Nop::new()), Err(Errno::ACCESS));
    assert_eq!(result(&mut ring, Nop::new().force_async().drain()), Err(Errno::ACCESS));
}

#[test]
fn item_39_a_ring_is_restricted_once_and_while_it_is_disabled() {
    let list = Restrictions::new().allow(Nop::INFO).allow_registration(Registration::ENABLE_RINGS);
    assert_eq!(ring().restrict(&list), Err(Errno::BADFD));
    let mut ring = Setup::new(8).disabled().build().expect("a ring");
    let unknown = Restrictions::new().allow_opcode(Opcode(u8::MAX));
    assert_eq!(ring.restrict(&unknown), Err(Errno::INVAL));
    for number in [255, 256 + Registration::FILES.0, u32::MAX] {
        let unknown = Restrictions::new().allow(Nop::INFO).allow_registration(Registration(number));
        assert_eq!(ring.restrict(&unknown), Err(Errno::INVAL), "{number}");
    }
    ring.restrict(&list).expect("the others left nothing");
    assert_eq!(ring.restrict(&list), Err(Errno::BUSY));
    // Until it is enabled, registrations are free.
    ring.register_sparse_files(1).expect("not enabled yet");
    ring.enable().expect("enabled");
    assert_eq!(ring.unregister_files(), Err(Errno::ACCESS));
    assert_eq!(result(&mut ring, Nop::new()), Ok(0));
}

#[test]
fn item_39_the_safe_doors_work_where_they_may_ask_and_cancel() {
    needs!(common::safe_doors());
    let list = Restrictions::new().allow(Nop::INFO).allow(Cancel::INFO).allow_registration(Registration::PROBE);
    let mut ring = restricted(&list);
    let mut seen = 0;
    ring.scope(|scope| {
        scope.push(Nop::new()).expect("room");
        scope.finish(|cqe| seen += u32::from(cqe.result() == Ok(0)))
    })
    .expect("may ask")
    .expect("submitted");
    assert_eq!(seen, 1);
}

#[test]
fn item_39_the_empty_list_forbids_everything() {
    needs!(since(Version::new(7, 0)));
    let mut ring = restricted(&Restrictions::new());
    assert_eq!(result(&mut ring, Nop::new()), Err(Errno::ACCESS));
    assert_eq!(ring.register_personality(), Err(Errno::ACCESS));
}

#[test]
fn item_39_before_there_are_restrictions_of_threads_they_are_refused() {
    in_own_process("item_39_before_there_are_restrictions_of_threads_they_are_refused", || {
        if common::since(Version::new(7, 0)).is_err() {
            assert_eq!(Restrictions::new().allow(Nop::INFO).restrict_thread(), Err(Errno::INVAL));
        } else {
            let unknown = Restrictions::new().allow_opcode(Opcode(u8::MAX));
            assert_eq!(unknown.restrict_thread(), Err(Errno::INVAL));
        }
        assert_eq!(result(&mut ring(), Nop::new()), Ok(0));
    });
}

#[test]
fn item_39_a_threads_list_holds_for_its_later_rings_and_its_children() {
    needs!(since(Version::new(7, 0)));
    in_own_process("item_39_a_threads_list_holds_for_its_later_rings_and_its_children", || {
        let mut before = ring();
        let list = Restrictions::new().allow(Nop::INFO).allow_registration(Registration::FILES);
        let list = list.allow_registration(Registration::RESTRICTIONS);
        list.restrict_thread().expect("restricted");
        assert_eq!(list.restrict_thread(), Err(Errno::PERM), "once");
        let check = |ring: &mut Ring| {
            assert_eq!(result(ring, Nop::new()), Ok(0));
            assert_eq!(result(ring, CancelAny::new()), Err(Errno::ACCESS));
            ring.register_files(&[rawring::operand::FileSlot::CLEAR]).expect("allowed");
            assert_eq!(ring.unregister_files(), Err(Errno::ACCESS));
        };
        check(&mut ring());
        std::thread::scope(|threads| {
            threads.spawn(|| check(&mut ring())).join().expect("children inherit it");
        });
        // What is called without a ring is restricted, too, in Linux 7.3 and not in 7.0 to 7.2. Nothing tells 7.3 from 7.2.
        // SAFETY: this test takes the value for no operation's.
        match send_message(unsafe { MsgRing::new(&before, UserData(5), 1) }) {
            Err(errno) => {
                assert_eq!(errno, Errno::ACCESS);
                assert!(since(Version::new(7, 2)).is_ok(), "earlier, it is free");
            }
            Ok(()) => assert_eq!(io::next(&mut before).user_data(), UserData(5)),
        }
        // A ring that was there before is as it was.
        assert_eq!(result(&mut before, CancelAny::new()), Ok(0));
        before.register_personality().expect("not restricted");
    });
}

#[test]
fn item_39_a_thread_without_rights_restricts_itself_only_for_good() {
    needs!(since(Version::new(7, 0)));
    in_own_process("item_39_a_thread_without_rights_restricts_itself_only_for_good", || {
        as_user(65534, 65534, || {
            let list = Restrictions::new().allow(Nop::INFO);
            assert_eq!(list.restrict_thread(), Err(Errno::ACCESS));
            rustix::thread::set_no_new_privs(true).expect("anybody may");
            assert_eq!(list.restrict_thread(), Ok(()));
        });
    });
}
