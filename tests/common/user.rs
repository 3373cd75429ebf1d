//! Being somebody else for a test: an ordinary user, with limits, who may or may not have io_uring. What changes the
//! process happens in one of the test's own (`common::in_own_process`).

#![allow(dead_code, reason = "each test file uses its own part")]

use rustix::process::{Gid, Resource, Rlimit, Uid, getrlimit, setrlimit};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Changes a limit of this process, and returns what it was.
pub fn limit(resource: Resource, current: Option<u64>) -> Option<u64> {
    let was = getrlimit(resource);
    setrlimit(resource, Rlimit { current, ..was }).expect("a limit");
    was.current
}

/// Makes this thread a process of an ordinary user without any group but `group`.
pub fn become_user(uid: u32, group: u32) {
    let (uid, group) = (Uid::from_raw(uid), Gid::from_raw(group));
    set_thread_groups(&[]).expect("root may");
    set_thread_res_gid(group, group, group).expect("root may");
    set_thread_res_uid(uid, uid, uid).expect("root may");
}

pub const SETTING: &str = "/proc/sys/kernel/io_uring_disabled";

/// Keeps the setting for this test: it is the whole system's, and ordinary users depend on it. Dropped to let go.
pub fn hold_the_setting() -> std::io::Result<std::fs::File> {
    let file = std::fs::File::open(SETTING)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(file)
}

/// Runs `body` on a thread of an ordinary user.
pub fn as_user<T: Send>(uid: u32, group: u32, body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let user = scope.spawn(|| {
            become_user(uid, group);
            body()
        });
        user.join().expect("the user's thread")
    })
}
