//! A process of its own for one input on the kernel that this runs on: what it leaves behind goes with it, and a hang or
//! a crash is found by whoever waits for it. So is what the kernel says about itself in its log.

use std::fmt::Debug;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// How long it may take. Programs end themselves with an explanation before that, if they can.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a kernel says when something is wrong with it.
const ALARMS: [&str; 8] =
    ["BUG:", "WARNING:", "Oops", "general protection", "refcount_t:", "KASAN", "INFO: task", "UBSAN"];

/// Runs `body` in a child, and fails unless it ends well. `what` is shown then.
pub fn run(what: &dyn Debug, body: impl FnOnce() -> Result<(), String>) {
    // SAFETY: the child uses what it finds as the only thread that it has, and ends without returning.
    let child = match unsafe { libc::fork() } {
        -1 => panic!("no process for {what:?}"),
        0 => {
            // As in every Rust program whose `main` is one; a fuzz target's is C++.
            // SAFETY: ignoring a signal runs no code.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
            // A panic has been printed.
            let fine = catch_unwind(AssertUnwindSafe(body)).is_ok_and(|result| match result {
                Ok(()) => true,
                Err(wrong) => {
                    eprintln!("{wrong}");
                    false
                }
            });
            // SAFETY: ends the process; nothing that is not the kernel's has to be done before.
            unsafe { libc::_exit(i32::from(!fine)) }
        }
        child => Pid::from_raw(child).expect("a process has a number"),
    };
    let fine = wait(child);
    if let Some(alarm) = alarm() {
        panic!("{what:?}\nand the kernel said: {alarm}");
    }
    assert!(fine, "{what:?}\nwent wrong, see above");
}

/// Whether a child ended well.
fn wait(child: Pid) -> bool {
    let start = Instant::now();
    let mut late = false;
    loop {
        if let Some((_, status)) = waitpid(Some(child), WaitOptions::NOHANG).expect("our own child") {
            return status.exit_status() == Some(0) && !late;
        }
        if start.elapsed() > DEADLINE && !late {
            late = true;
            eprintln!("a child did not end in time");
            kill_process(child, Signal::KILL).expect("our own child");
        }
        // Most take some milliseconds.
        std::thread::sleep(Duration::from_micros(300));
    }
}

/// The first line of the kernel's log since the last look that is an alarm.
fn alarm() -> Option<String> {
    static LOG: OnceLock<Option<Mutex<std::fs::File>>> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        use std::io::{Seek as _, SeekFrom};
        let open = std::fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
        let log = open.and_then(|mut log| log.seek(SeekFrom::End(0)).map(|_| Mutex::new(log)));
        log.map_err(|why| eprintln!("skipped: reading the kernel's log: {why}")).ok()
    });
    let mut log = log.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
    let mut record = [0; 8192];
    loop {
        let text = match log.read(&mut record) {
            Ok(n) => String::from_utf8_lossy(&record[..n]),
            // Overwritten before it was read; the next one is there.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => continue,
            Err(_) => return None,
        };
        if ALARMS.iter().any(|alarm| text.contains(alarm)) {
            return Some(text.into_owned());
        }
    }
}
