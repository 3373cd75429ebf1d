//! `Ring::scope`: what it ends, what it keeps, and when it returns.

mod common;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{needs, safe_doors};
use rawring::op::{Nop, PollAdd, PollMulti, Read, SendZc, Write};
use rawring::operand::{Fixed, PollMask};
use rawring::{Errno, Reason, Ring, Setup, UserData, Wait};
use rustix::event::PollFlags;
use rustix::net::SendFlags;

/// Every kind of ring whose queues behave differently.
fn rings() -> Vec<(&'static str, Ring)> {
    let kinds = [
        ("default", Setup::new(8)),
        ("with the index array", Setup::new(8).no_sqarray(false)),
        ("SQPOLL", Setup::new(8).sqpoll(Duration::from_millis(1))),
        ("COOP_TASKRUN", Setup::new(8).coop_taskrun().taskrun_flag()),
        ("DEFER_TASKRUN", Setup::new(8).single_issuer().defer_taskrun()),
        ("SQE128, CQE32", Setup::new(8).sqe128().cqe32()),
    ];
    kinds.map(|(name, setup)| (name, setup.build().expect(name))).into()
}

#[test]
fn operations_borrow_and_their_effects_are_there_afterwards() {
    needs!(safe_doors());
    for (kind, mut ring) in rings() {
        let (one, mut two) = UnixStream::pair().expect("a pair");
        let text = *b"over the ring";
        let mut back = [0; 32];
        let mut results = Vec::new();
        ring.scope(|s| {
            s.push(Write::new(&one, &text).user_data(1)).expect("room");
            s.finish(|cqe| results.push((cqe.user_data().0, cqe.result()))).expect("finished");
        })
        .expect("a scope");
        assert_eq!(results, [(1, Ok(13))], "{kind}");
        let n = two.read(&mut back).expect("data");
        assert_eq!(&back[..n], text, "{kind}");
    }
}

/// Runs `body` with a read that can never finish, and proves afterwards that the kernel does not write any more.
fn canary(mut ring: Ring, kind: &str, body: impl FnOnce(&mut Ring, &UnixStream, &mut [u8; 8])) {
    let (reader, mut writer) = UnixStream::pair().expect("a pair");
    let mut buf = [7; 8];
    let start = Instant::now();
    body(&mut ring, &reader, &mut buf);
    assert!(start.elapsed() < Duration::from_secs(3), "{kind}: took {:?}", start.elapsed());
    writer.write_all(b"too late").expect("written");
    ring.submit_with(&Wait::new(1).timeout(Duration::from_millis(5))).expect("waited");
    assert_eq!(buf, [7; 8], "{kind}: the kernel wrote into a buffer after the scope had ended");
    assert_eq!(ring.completions().count(), 0, "{kind}: a completion of the scope was left behind");
}

#[test]
fn item_24_a_never_ready_operation_is_cancelled_when_the_scope_ends() {
    needs!(safe_doors());
    for (kind, ring) in rings() {
        canary(ring, kind, |ring, reader, buf| {
            ring.scope(|s| {
                s.push(Read::new(reader, buf)).expect("room");
                s.submit().expect("submitted");
                assert_eq!(s.in_flight(), 1);
            })
            .expect("a scope");
        });
    }
}

#[test]
fn item_24_a_panic_ends_the_scope_in_the_same_way() {
    needs!(safe_doors());
    for (kind, ring) in rings() {
        canary(ring, kind, |ring, reader, buf| {
            let panic = catch_unwind(AssertUnwindSafe(|| {
                ring.scope(|s| {
                    s.push(Read::new(reader, buf)).expect("room");
                    s.submit().expect("submitted");
                    panic!("on purpose");
                })
            }));
            assert!(panic.is_err());
        });
    }
}

#[test]
fn multishots_end_with_the_scope() {
    needs!(safe_doors());
    for (kind, mut ring) in rings() {
        let (reader, mut writer) = UnixStream::pair().expect("a pair");
        let mut shots = 0;
        ring.scope(|s| {
            s.push(PollMulti::new(&reader, PollMask::from(PollFlags::IN)).user_data(5)).expect("room");
            s.submit().expect("submitted");
            for _ in 0..2 {
                writer.write_all(b"x").expect("written");
                s.submit_and_wait(1).expect("waited");
                for cqe in s.completions() {
                    assert!(cqe.more(), "{kind}");
                    assert_eq!(cqe.user_data().0, 5);
                    shots += 1;
                }
            }
            assert_eq!(s.in_flight(), 1, "{kind}: a shot with more to come does not end it");
        })
        .expect("a scope");
        assert!(shots >= 2, "{kind}: {shots}");
        assert_eq!(ring.completions().count(), 0, "{kind}");
    }
}

#[test]
fn item_17_a_scope_waits_for_the_notification_of_a_zero_copy_send() {
    needs!(safe_doors());
    for panics in [false, true] {
        for (kind, mut ring) in rings() {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
            let client = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
            let (mut server, _) = listener.accept().expect("accepted");
            // More than the sockets hold: asked to send all of it, the kernel waits with the rest. What was sent is
            // still in `data` until the peer has read it, cancelled or not.
            let data = vec![1; 16 << 20];
            let read = AtomicBool::new(false);
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    std::thread::sleep(Duration::from_millis(100));
                    read.store(true, Ordering::SeqCst);
                    server.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
                    while server.read(&mut [0; 1 << 16]).is_ok_and(|n| n > 0) {}
                });
                let ended = catch_unwind(AssertUnwindSafe(|| {
                    ring.scope(|s| {
                        let all = SendFlags::from_bits_retain(libc::MSG_WAITALL as u32);
                        s.push(SendZc::new(&client, &data).msg_flags(all)).expect("room");
                        s.submit().expect("submitted");
                        assert_eq!((s.in_flight(), s.completion()), (1, None), "{kind}: it waits");
                        assert!(!panics, "on purpose");
                    })
                    .expect("a scope");
                }));
                assert_eq!(ended.is_err(), panics);
                assert!(read.load(Ordering::SeqCst), "{kind}: the scope ended while the network still used the data");
                assert_eq!(ring.completions().count(), 0, "{kind}: a completion of the scope was left behind");
            });
        }
    }
}

#[test]
fn what_was_not_submitted_never_runs() {
    needs!(safe_doors());
    let mut ring = Ring::new(8).expect("a ring");
    let (one, two) = UnixStream::pair().expect("a pair");
    two.set_nonblocking(true).expect("non-blocking");
    ring.push(Nop::new().user_data(1)).expect("room");
    let panic = catch_unwind(AssertUnwindSafe(|| {
        ring.scope(|s| {
            s.push(Write::new(&one, b"never")).expect("room");
            panic!("before the submission");
        })
    }));
    assert!(panic.is_err());
    assert_eq!(ring.pending(), 1, "what was pushed before the scope is still queued");
    assert_eq!(ring.submit().expect("submitted"), 1);
    assert_eq!(ring.completions().map(|cqe| cqe.user_data().0).collect::<Vec<_>>(), [1]);
    let error = (&two).read(&mut [0; 8]).expect_err("nothing was written");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn foreign_completions_are_neither_counted_nor_lost() {
    needs!(safe_doors());
    for (kind, mut ring) in rings() {
        let (poll, mut end_poll) = UnixStream::pair().expect("a pair");
        let (reader, mut writer) = UnixStream::pair().expect("a pair");
        // SAFETY: `poll` outlives the operation, which ends below.
        unsafe { ring.push_unchecked(PollAdd::new(&poll, PollMask::from(PollFlags::IN)).user_data(50)) }.expect("room");
        for key in 0..4 {
            ring.push(Nop::new().user_data(key)).expect("room");
        }
        ring.submit().expect("submitted");
        let mut buf = [0; 4];
        let mut own = Vec::new();
        ring.scope(|s| {
            s.push(Read::new(&reader, &mut buf).user_data(2)).expect("room");
            s.submit_with(&Wait::new(4).timeout(Duration::from_millis(50))).expect("waited");
            assert_eq!(s.completion(), None, "{kind}: none of these is the scope's");
            assert_eq!(s.in_flight(), 1, "{kind}: foreign completions were counted");
            assert_eq!(s.foreign().map(|cqe| cqe.user_data().0), Some(0), "{kind}");
            writer.write_all(b"data").expect("written");
            s.finish(|cqe| own.push((cqe.user_data().0, cqe.result()))).expect("finished");
        })
        .expect("a scope");
        assert_eq!(own, [(2, Ok(4))], "{kind}");
        end_poll.write_all(b"x").expect("written");
        let mut rest = Vec::new();
        while rest.len() < 4 {
            rest.extend(ring.completions().map(|cqe| cqe.user_data().0));
            ring.submit_with(&Wait::new(1).timeout(Duration::from_millis(50))).expect("waited");
        }
        assert_eq!(rest, [1, 2, 3, 50], "{kind}: those met in the scope come first, and the poll was left alone");
    }
}

#[test]
fn reserved_keys_cannot_be_forged() {
    needs!(safe_doors());
    let mut ring = Ring::new(8).expect("a ring");
    let forged = UserData(0x5afe_0000_0000_0000);
    let refused = ring.push(Nop::new().user_data(forged)).expect_err("reserved");
    assert_eq!(refused.reason, Reason::ReservedUserData);
    assert_eq!(refused.entry.raw().user_data, forged.0, "the entry comes back as it was");
    assert!(refused.to_string().contains("0x5afe"), "{refused}");
    let all = ring.push_all([Nop::new().into(), Nop::new().user_data(forged).into()]).expect_err("reserved");
    assert_eq!((all.reason, ring.pending()), (Reason::ReservedUserData, 0), "all or nothing");
    // Inside a scope the value is only shown, so any will do.
    let mut shown = Vec::new();
    ring.scope(|s| {
        s.push(Nop::new().user_data(forged)).expect("room");
        s.finish(|cqe| shown.push(cqe.user_data())).expect("finished");
    })
    .expect("a scope");
    assert_eq!(shown, [forged]);
}

#[test]
fn a_full_queue_and_a_skipped_completion_hand_the_entry_back() {
    needs!(safe_doors());
    let mut ring = Ring::new(2).expect("a ring");
    ring.scope(|s| {
        s.push(Nop::new().user_data(1)).expect("room");
        s.push(Nop::new().user_data(2)).expect("room");
        let refused = s.push(Nop::new().user_data(3)).expect_err("full");
        assert_eq!(refused.reason, Reason::Full);
        assert_eq!(refused.entry.raw().user_data, 3, "as it was pushed, not under the scope's key");
        s.submit().expect("submitted");
        s.push(refused.entry).expect("room again");
        let skipping = s.push(Nop::new().skip_success()).expect_err("not countable");
        assert_eq!(skipping.reason, Reason::SkipSuccess);
        let mut keys = Vec::new();
        s.finish(|cqe| keys.push(cqe.user_data().0)).expect("finished");
        assert_eq!(keys, [1, 2, 3]);
    })
    .expect("a scope");
}

#[test]
fn a_ticket_cancels_its_operation() {
    needs!(safe_doors());
    let mut ring = Ring::new(8).expect("a ring");
    let (reader, _writer) = UnixStream::pair().expect("a pair");
    let (mut one, mut two) = ([0; 4], [0; 4]);
    ring.scope(|s| {
        s.push(Read::new(&reader, &mut one).user_data(1)).expect("room");
        let ticket = s.push(Read::new(&reader, &mut two).user_data(2)).expect("room");
        s.submit().expect("submitted");
        s.cancel(ticket).expect("room");
        s.submit_and_wait(1).expect("waited");
        let cqe = loop {
            match s.completion() {
                Some(cqe) => break cqe,
                None => s.submit_and_wait(1).map(drop).expect("waited"),
            }
        };
        assert_eq!((cqe.user_data().0, cqe.result()), (2, Err(Errno::CANCELED)));
        assert_eq!((s.in_flight(), s.completion()), (1, None), "the cancellation itself is not shown");
        s.cancel(ticket).expect("one that has ended is left alone");
        assert_eq!(s.submit().expect("submitted"), 0);
    })
    .expect("a scope");
}

#[test]
fn an_operation_held_back_by_somebody_elses_ends_too() {
    needs!(safe_doors());
    let mut ring = Ring::new(8).expect("a ring");
    let (poll, _keep) = UnixStream::pair().expect("a pair");
    // SAFETY: `poll` outlives the ring's use of it: the operation ends below.
    unsafe { ring.push_unchecked(PollAdd::new(&poll, PollMask::from(PollFlags::IN)).user_data(9)) }.expect("room");
    ring.submit().expect("submitted");
    let mut buf = [0; 4];
    let start = Instant::now();
    ring.scope(|s| {
        s.push(Read::new(&poll, &mut buf).drain()).expect("room");
        s.submit().expect("submitted");
    })
    .expect("a scope");
    assert!(start.elapsed() < Duration::from_secs(3), "took {:?}", start.elapsed());
    let ended: Vec<_> = ring.completions().map(|cqe| (cqe.user_data().0, cqe.result())).collect();
    assert_eq!(ended, [(9, Err(Errno::CANCELED))], "what it waited for had to be cancelled with it");
}

#[test]
fn chains_and_more_operations_than_slots() {
    needs!(safe_doors());
    for (kind, mut ring) in rings() {
        let mut bufs = vec![[0u8; 8]; 100];
        let zero = std::fs::File::open("/dev/zero").expect("/dev/zero");
        bufs.iter_mut().for_each(|buf| buf.fill(1));
        let mut done = 0;
        ring.scope(|s| {
            for (index, buf) in bufs.iter_mut().enumerate() {
                let mut entry: rawring::Sqe<'_> = Read::new(&zero, buf).user_data(index as u64).into();
                while let Err(refused) = s.push(entry) {
                    assert_eq!(refused.reason, Reason::Full);
                    entry = refused.entry;
                    // A polling thread gives the slots back after it has posted the completions: the queue can be full
                    // with nothing left to wait for.
                    let want = u32::from(s.in_flight() > 0);
                    s.submit_and_wait(want).expect("waited");
                    done += s.completions().count();
                }
            }
            s.finish(|_| done += 1).expect("finished");
        })
        .expect("a scope");
        assert_eq!(done, 100, "{kind}");
        assert!(bufs.iter().all(|buf| *buf == [0; 8]), "{kind}");
    }
}

#[test]
fn nested_scopes_on_two_rings() {
    needs!(safe_doors());
    let (mut one, mut two) = (Ring::new(4).expect("a ring"), Ring::new(4).expect("a ring"));
    let zero = std::fs::File::open("/dev/zero").expect("/dev/zero");
    let (mut a, mut b) = ([1; 4], [1; 4]);
    one.scope(|outer| {
        outer.push(Read::new(&zero, &mut a)).expect("room");
        two.scope(|inner| {
            inner.push(Read::new(&zero, &mut b)).expect("room");
            inner.finish(|_| ()).expect("finished");
        })
        .expect("a scope");
        outer.finish(|_| ()).expect("finished");
    })
    .expect("a scope");
    assert_eq!((a, b), ([0; 4], [0; 4]));
}

#[test]
fn item_17_a_notification_that_nobody_announced_is_nobodys_business() {
    needs!(safe_doors());
    let (left, _right) = std::os::unix::net::UnixStream::pair().expect("a pair");
    for (kind, mut ring) in rings() {
        ring.scope(|s| {
            let mut results = Vec::new();
            // The kernel cancels the send without `MORE`, and posts a notification all the same.
            s.push(Read::new(Fixed(u32::MAX), &mut []).link().user_data(1)).expect("room");
            s.push(SendZc::new(&left, "data").user_data(2)).expect("room");
            s.finish(|cqe| results.push((cqe.user_data().0, cqe.result()))).expect("finished");
            assert_eq!(results, [(1, Err(Errno::BADF)), (2, Err(Errno::CANCELED))], "{kind}");
            s.submit_with(&Wait::new(1).timeout(Duration::from_millis(5))).expect("waited");
            assert_eq!((s.completion(), s.foreign()), (None, None), "{kind}");
        })
        .expect("a scope");
    }
}

#[test]
fn item_24_drains_of_its_own_do_not_hold_up_the_end() {
    needs!(safe_doors());
    for (kind, mut ring) in rings() {
        let (reader, _writer) = UnixStream::pair().expect("a pair");
        let mut bufs = [[0; 1]; 6];
        let start = Instant::now();
        ring.scope(|s| {
            for buf in &mut bufs {
                s.push(Read::new(&reader, buf).drain()).expect("room");
            }
            s.submit().expect("submitted");
        })
        .expect("a scope");
        // Each holds back the requests to cancel the one before it.
        assert!(start.elapsed() < Duration::from_secs(2), "{kind}: took {:?}", start.elapsed());
    }
}
