//! Every combination of setup flags that the kernel accepts, one by one: opened, driven by a little of everything, and
//! torn down. `suite.rs` drives more, on a sample of the flags that go with everything; here nothing is sampled. Rings
//! with a polling thread, each of which takes a millisecond of a processor to go to sleep, are driven there only.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rawring::flags::SetupFlags;
use rawring::op::{Nop, Nop128, Read};
use rawring::probe::RingTrials;
use rawring::register::Memory;
use rawring::{Cause, Conflict, Errno, Ring, Setup};

use crate::common::{announce, has, has_setup, in_own_process, needs, skipped};
use crate::suite::{ENTRIES, Others, known, reap};

/// Whether this is a guest of `tests/kernels/run`.
fn guest() -> bool {
    std::env::var_os("RAWRING_KERNEL").is_some()
}

/// A ring with exactly these flags.
fn open(others: &Others, set: SetupFlags) -> Ring {
    let setup = others.setup(set);
    // The smallest that wraps.
    let setup = if set.contains(SetupFlags::CQSIZE) { setup.cq_entries(ENTRIES) } else { setup };
    loop {
        match setup.build() {
            Ok(ring) => return ring,
            // Rings are taken apart some time after they are closed.
            Err(error) if matches!(error.cause(), Cause::Memory { .. } | Cause::Memlock { .. }) => {
                std::thread::yield_now();
            }
            Err(error) => panic!("{set:?}: {error}"),
        }
    }
}

/// Entries and completions on both sides of where the queues wrap, long ones among them.
fn drive(ring: &mut Ring, wide: bool) {
    if ring.setup_flags().contains(SetupFlags::R_DISABLED) {
        ring.enable().expect("enabled");
    }
    for round in 0..3 {
        let keys = [0, 1, 2].map(|key| round * 3 + key);
        for key in keys {
            // A polling thread gives slots back after the completions.
            if ring.room() == 0 && ring.setup_flags().contains(SetupFlags::SQPOLL) {
                ring.wait_for_room().expect("waited");
            }
            ring.push(Nop::new().user_data(key)).expect("room");
        }
        while ring.ready() < 3 {
            // Rings that poll devices do not sleep.
            ring.submit_and_wait(3).expect("waited");
        }
        let seen: Vec<_> = ring.completions().map(|cqe| (cqe.user_data().0, cqe.result())).collect();
        assert_eq!(seen, keys.map(|key| (key, Ok(0))), "{ring:?}");
    }
    assert!(ring.sq_entries() < 9 && ring.cq_entries() < 9, "they wrapped: {ring:?}");
    if wide && ring.is_wide() {
        while ring.room() < 3 {
            ring.wait_for_room().expect("waited");
        }
        ring.push128(Nop128::new().user_data(7)).expect("room");
        assert_eq!(reap(ring, 1), [(7, Ok(0))], "{ring:?}");
    }
    while ring.setup_flags().contains(SetupFlags::SQPOLL) && ring.pending() > 0 {
        std::thread::yield_now();
    }
    assert_eq!((ring.pending(), ring.ready(), ring.lost(), ring.dropped()), (0, 0, 0, 0), "{ring:?}");
}

#[test]
fn every_combination_that_the_kernel_accepts_is_opened_driven_and_torn_down() {
    const TEST: &str = "every::every_combination_that_the_kernel_accepts_is_opened_driven_and_torn_down";
    // Its kernels take what the rules allow: that is tested beside this.
    if guest() {
        return skipped(TEST, "an emulated machine takes too long for so many rings: the suite drives a sample");
    }
    in_own_process(TEST, || {
        let start = std::time::Instant::now();
        let others = Others::new();
        let wide = has(Nop128::INFO);
        let (mut opened, mut polling, mut polled, mut narrow) = (0, 0, 0, 0);
        for set in RingTrials::sets(known(), SetupFlags::empty()).filter(|&set| Conflict::of(set).is_none()) {
            let mut ring = open(&others, set);
            assert_eq!(ring.setup_flags(), set);
            opened += 1;
            if set.contains(SetupFlags::SQPOLL) && set.intersects(RingTrials::FREE) {
                polling += 1;
                continue;
            }
            drive(&mut ring, wide.is_ok());
            polled += usize::from(set.contains(SetupFlags::IOPOLL));
            narrow += usize::from(ring.is_wide() && wide.is_err());
        }
        // As many as the rules allow for the flags that even the oldest supported kernel knows.
        assert!(opened >= 96 && polling < opened, "{opened}, {polling}");
        announce(&format!("{TEST}: {opened} combinations, {:.1} s", start.elapsed().as_secs_f32()));
        let reason = "each of their threads polls for a millisecond at least; without those flags they are driven";
        let flags = format!("a polling thread and flags that go with everything ({:?})", RingTrials::FREE);
        skipped(TEST, &format!("driving {polling} combinations of {flags}: {reason}"));
        if let Err(reason) = wide {
            skipped(TEST, &format!("entries of 128 bytes, on {narrow} combinations that have room for them: {reason}"));
        }
        if let Err(reason) = polls() {
            skipped(TEST, &format!("{polled} combinations that poll devices are driven by NOP alone: {reason}"));
        }
    });
}

/// Whether there is a file here that a ring can read by polling the device.
fn polls() -> Result<(File, Vec<u8>), String> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("rawring-polled-{}", std::process::id()));
    let content: Vec<u8> = (0..4096).map(|at| (at % 251) as u8).collect();
    let mut file = File::create(&path).expect("a file");
    file.write_all(&content).expect("written");
    file.sync_all().expect("on the device");
    let direct = File::options().read(true).custom_flags(libc::O_DIRECT).open(&path);
    std::fs::remove_file(&path).expect("removed");
    let file = direct.map_err(|error| format!("the file system here has no O_DIRECT: {error}"))?;
    let mut ring = Setup::new(2).iopoll().build().expect("a ring");
    match read(&mut ring, &file).0 {
        Ok(4096) => Ok((file, content)),
        Err(Errno::OPNOTSUPP | Errno::INVAL) => Err("no device here polls".to_owned()),
        other => panic!("{other:?}"),
    }
}

fn read(ring: &mut Ring, file: &File) -> (Result<u32, Errno>, &'static [u8]) {
    let memory = Box::leak(Box::new(Memory::new(4096).expect("memory")));
    // SAFETY: the memory is never freed, and not looked at before the completion, which is waited for below.
    unsafe { ring.push_unchecked(Read::new(file, &mut memory[..]).offset(0).user_data(9)) }.expect("room");
    let seen = reap(ring, 1);
    assert_eq!(seen[0].0, 9);
    (seen[0].1, memory)
}

#[test]
fn rings_that_poll_devices_read_files() {
    let device = polls();
    needs!(device.as_ref());
    let (file, content) = device.expect("as above");
    let mut setups = vec![Setup::new(4).iopoll(), Setup::new(4).iopoll().sqpoll(std::time::Duration::from_millis(1))];
    if has_setup(SetupFlags::HYBRID_IOPOLL).is_ok() {
        setups.push(Setup::new(4).iopoll().hybrid_iopoll());
    }
    for setup in setups {
        let mut ring = setup.build().expect("a ring");
        let (result, memory) = read(&mut ring, &file);
        assert_eq!((result, memory), (Ok(4096), &content[..]), "{ring:?}");
    }
}
