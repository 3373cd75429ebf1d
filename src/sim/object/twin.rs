//! Every object beside its real twin: the same steps on both, and the same results and poll masks after each.
//!
//! Steps stay clear of where the two differ on purpose: how much fits into a socket.

use std::os::fd::OwnedFd;

use proptest::prelude::*;
use proptest::sample::Index;
use rustix::event::{EventfdFlags, PollFd, Timespec, eventfd, poll};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::{ioctl_fionbio, pread, pwrite, read, write};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind, connect, listen, recv, send,
    shutdown, socket_with, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};

use super::*;

/// An object and what it imitates.
struct Twin {
    sim: Object,
    real: OwnedFd,
}

type Step = Result<(), TestCaseError>;

/// What a real call says, in our words.
fn attempt<T>(result: Result<T, Errno>) -> Attempt<T> {
    match result {
        Err(Errno::AGAIN) => Blocked,
        result => Ready(result),
    }
}

/// As [`attempt`], where shutting a socket ends a wait: a call that does not wait cannot tell, one that does can.
fn waited<T>(fd: &OwnedFd, mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let result = call();
    if !matches!(result, Err(Errno::AGAIN)) || !mask(fd).contains(PollFlags::RDHUP) {
        return result;
    }
    ioctl_fionbio(fd, false).expect("a socket");
    let result = call();
    ioctl_fionbio(fd, true).expect("a socket");
    result
}

/// What the kernel's poll finds.
fn mask(fd: &OwnedFd) -> PollFlags {
    let all = ALWAYS | WRITABLE | PollFlags::PRI | PollFlags::RDHUP | PollFlags::RDBAND;
    let mut fds = [PollFd::new(fd, all)];
    poll(&mut fds, Some(&Timespec::default())).expect("poll");
    fds[0].revents()
}

/// The first `n` of what a call filled.
fn filled(max: usize, call: impl FnOnce(&mut [u8]) -> Result<usize, Errno>) -> Attempt<Vec<u8>> {
    let mut bytes = vec![0; max];
    attempt(call(&mut bytes)).map(|n| {
        bytes.truncate(n);
        bytes
    })
}

/// Recognisable bytes.
fn pattern(start: usize, len: usize) -> Vec<u8> {
    (start..start + len).map(|i| (i % 251) as u8).collect()
}

impl Twin {
    fn pair((one, other): (Object, Object), (real, peer): (OwnedFd, OwnedFd)) -> [Option<Twin>; 2] {
        [Some(Twin { sim: one, real }), Some(Twin { sim: other, real: peer })]
    }

    fn read(&self, max: usize) -> Step {
        let real = filled(max, |bytes| waited(&self.real, || read(&self.real, &mut *bytes)));
        prop_assert_eq!(self.sim.read(None, max), real);
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> Step {
        prop_assert_eq!(self.sim.write(None, bytes), attempt(write(&self.real, bytes)));
        Ok(())
    }

    fn recv(&self, max: usize, flags: RecvFlags) -> Step {
        let mut full = 0;
        let real = filled(max, |bytes| {
            let (n, all) = waited(&self.real, || recv(&self.real, &mut *bytes, flags))?;
            full = all;
            Ok(n)
        });
        let sim = self.sim.recv(max, flags);
        if flags.contains(RecvFlags::TRUNC) {
            if let Ready(Ok(received)) = &sim {
                prop_assert_eq!(received.full, full);
            }
        }
        prop_assert_eq!(sim.map(|received| received.bytes), real);
        Ok(())
    }

    fn send(&self, bytes: &[u8]) -> Step {
        let flags = SendFlags::NOSIGNAL;
        prop_assert_eq!(self.sim.send(bytes), attempt(send(&self.real, bytes, flags)));
        Ok(())
    }

    fn shutdown(&self, how: Shutdown) -> Step {
        prop_assert_eq!(self.sim.shutdown(how), shutdown(&self.real, how));
        Ok(())
    }

    fn poll(&self) -> Step {
        prop_assert_eq!(self.sim.poll(), mask(&self.real));
        Ok(())
    }
}

/// What is done to one of several twins.
#[derive(Clone, Debug)]
enum Act {
    Read(usize),
    Write(usize),
    Recv(usize, RecvFlags),
    Send(usize),
    Shutdown(Shutdown),
    Close,
}

fn run(twins: &mut [Option<Twin>], acts: &[(Index, Act)]) -> Step {
    for (n, (index, act)) in acts.iter().enumerate() {
        act.on(index.get_mut(twins), n)?;
        for twin in twins.iter().flatten() {
            twin.poll()?;
        }
    }
    Ok(())
}

impl Act {
    fn on(&self, place: &mut Option<Twin>, n: usize) -> Step {
        let Some(twin) = place else { return Ok(()) };
        match *self {
            Act::Read(max) => twin.read(max),
            Act::Write(len) => twin.write(&pattern(n, len)),
            Act::Recv(max, flags) => twin.recv(max, flags),
            Act::Send(len) => twin.send(&pattern(n, len)),
            Act::Shutdown(how) => twin.shutdown(how),
            Act::Close => {
                *place = None;
                Ok(())
            }
        }
    }
}

fn acts(act: impl Strategy<Value = Act>, most: usize) -> impl Strategy<Value = Vec<(Index, Act)>> {
    prop::collection::vec((any::<Index>(), act), 1..most)
}

fn hows() -> impl Strategy<Value = Shutdown> {
    prop_oneof![Just(Shutdown::Read), Just(Shutdown::Write), Just(Shutdown::Both)]
}

fn pipe_acts() -> impl Strategy<Value = Vec<(Index, Act)>> {
    // Around the sizes that matter: nothing, pages, and the whole capacity.
    let len = || prop_oneof![0..3usize, 4090..4100usize, 1..70_000usize];
    acts(prop_oneof![8 => len().prop_map(Act::Read), 8 => len().prop_map(Act::Write), 1 => Just(Act::Close)], 60)
}

fn socket_acts() -> impl Strategy<Value = Vec<(Index, Act)>> {
    let len = || 0..300usize;
    let flags = prop_oneof![Just(RecvFlags::empty()), Just(RecvFlags::PEEK), Just(RecvFlags::TRUNC)];
    let act = prop_oneof![
        4 => len().prop_map(Act::Read),
        4 => len().prop_map(Act::Write),
        4 => (len(), flags).prop_map(|(len, flags)| Act::Recv(len, flags)),
        4 => len().prop_map(Act::Send),
        1 => hows().prop_map(Act::Shutdown),
        1 => Just(Act::Close),
    ];
    acts(act, 30)
}

fn socketpair_of(kind: SocketType) -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, kind, SocketFlags::NONBLOCK, None).expect("a pair of sockets")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pipe_is_like_a_real_one(acts in pipe_acts()) {
        // Pages are larger elsewhere; ours are those of most machines.
        prop_assume!(rustix::param::page_size() == pipe::PAGE);
        let real = pipe_with(PipeFlags::NONBLOCK).expect("a pipe");
        run(&mut Twin::pair(Object::pipe(), real), &acts)?;
    }

    #[test]
    fn a_stream_is_like_a_real_one(acts in socket_acts()) {
        run(&mut Twin::pair(Object::stream_pair(), socketpair_of(SocketType::STREAM)), &acts)?;
    }

    #[test]
    fn datagrams_are_like_real_ones(acts in socket_acts()) {
        run(&mut Twin::pair(Object::datagram_pair(), socketpair_of(SocketType::DGRAM)), &acts)?;
    }
}

#[derive(Clone, Debug)]
enum FileAct {
    Read(Option<u64>, usize),
    Write(Option<u64>, usize),
    Truncate(u64),
}

fn file_acts() -> impl Strategy<Value = Vec<FileAct>> {
    let at = || prop::option::of(prop_oneof![0..20_000u64, Just(u64::MAX), Just(1 << 63), Just((1 << 63) - 1)]);
    let act = prop_oneof![
        (at(), 0..9000usize).prop_map(|(at, len)| FileAct::Read(at, len)),
        // Beyond the end of the largest file, the two have different errors.
        (prop::option::of(0..20_000u64), 0..9000usize).prop_map(|(at, len)| FileAct::Write(at, len)),
        prop_oneof![0..20_000u64, Just(1 << 63)].prop_map(FileAct::Truncate),
    ];
    prop::collection::vec(act, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_is_like_a_real_one(acts in file_acts()) {
        let twin = Twin {
            sim: Object::file(Vec::new()),
            real: memfd_create("twin", MemfdFlags::CLOEXEC).expect("a file"),
        };
        for (n, act) in acts.into_iter().enumerate() {
            match act {
                FileAct::Read(None, max) => twin.read(max)?,
                FileAct::Read(Some(at), max) => {
                    prop_assert_eq!(twin.sim.read(Some(at), max), filled(max, |bytes| pread(&twin.real, bytes, at)));
                }
                FileAct::Write(None, len) => twin.write(&pattern(n, len))?,
                FileAct::Write(Some(at), len) => {
                    let bytes = pattern(n, len);
                    prop_assert_eq!(twin.sim.write(Some(at), &bytes), attempt(pwrite(&twin.real, &bytes, at)));
                }
                FileAct::Truncate(size) => prop_assert_eq!(twin.sim.truncate(size), ftruncate(&twin.real, size)),
            }
            twin.poll()?;
        }
        let content = filled(1 << 20, |bytes| pread(&twin.real, bytes, 0));
        prop_assert_eq!(Attempt::done(twin.sim.content().expect("a file")), content);
    }

    #[test]
    fn a_counter_is_like_a_real_one(steps in prop::collection::vec(prop_oneof![
        Just(Err(7)), Just(Err(8)), Just(Err(9)), Just(Ok(0)), Just(Ok(u64::MAX)), Just(Ok(u64::MAX - 1)),
        (1..9u64).prop_map(Ok),
    ], 1..30)) {
        let twin = Twin {
            sim: Object::counter(3),
            real: eventfd(3, EventfdFlags::NONBLOCK).expect("a counter"),
        };
        for step in steps {
            match step {
                Ok(add) => twin.write(&add.to_ne_bytes())?,
                Err(max) => twin.read(max)?,
            }
            twin.poll()?;
        }
        twin.write(&[0; 7])?;
    }
}

/// What is done to a listener and its clients.
#[derive(Clone, Debug)]
enum ListenerAct {
    Socket,
    Connect,
    Accept,
    CloseListener,
    ShutListener,
    Other(Act),
}

fn listener_acts() -> impl Strategy<Value = Vec<(Index, ListenerAct)>> {
    let act = prop_oneof![
        4 => Just(ListenerAct::Socket),
        8 => Just(ListenerAct::Connect),
        4 => Just(ListenerAct::Accept),
        1 => Just(ListenerAct::CloseListener),
        1 => Just(ListenerAct::ShutListener),
        4 => (0..300usize).prop_map(|len| ListenerAct::Other(Act::Send(len))),
        4 => (0..300usize).prop_map(|len| ListenerAct::Other(Act::Recv(len, RecvFlags::empty()))),
        1 => hows().prop_map(|how| ListenerAct::Other(Act::Shutdown(how))),
        2 => Just(ListenerAct::Other(Act::Close)),
    ];
    prop::collection::vec((any::<Index>(), act), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn connections_are_like_real_ones(acts in listener_acts(), unique in any::<u64>()) {
        let socket = || {
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).expect("a socket")
        };
        let name = format!("rawring-twin-{}-{unique}", std::process::id());
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).expect("a name");
        let real = socket();
        bind(&real, &address).expect("the name is unique");
        listen(&real, 2).expect("a stream socket can listen");
        let sim = Object::listener(2);
        let mut names = Objects::default();
        names.bind(name.clone().into_bytes(), &sim);
        let mut listener = Some(Twin { sim, real });
        let mut twins: Vec<Option<Twin>> = vec![Some(Twin { sim: Object::socket(), real: socket() })];
        for (n, (index, act)) in acts.iter().enumerate() {
            match act {
                ListenerAct::Socket => twins.push(Some(Twin { sim: Object::socket(), real: socket() })),
                ListenerAct::Connect => {
                    if let Some(twin) = index.get(&twins) {
                        let to = names.listener(name.as_bytes());
                        prop_assert_eq!(twin.sim.connect(to.as_ref()), attempt(connect(&twin.real, &address)));
                    }
                }
                ListenerAct::Accept => {
                    if let Some(listener) = &listener {
                        match (listener.sim.accept(), attempt(waited(&listener.real, || accept(&listener.real)))) {
                            (Ready(Ok(sim)), Ready(Ok(real))) => {
                                ioctl_fionbio(&real, true).expect("a socket");
                                twins.push(Some(Twin { sim, real }));
                            }
                            (sim, real) => prop_assert_eq!(sim.map(|_| ()), real.map(|_| ())),
                        }
                    }
                }
                ListenerAct::CloseListener => listener = None,
                ListenerAct::ShutListener => {
                    if let Some(listener) = &listener {
                        listener.shutdown(Shutdown::Read)?;
                    }
                }
                ListenerAct::Other(act) => act.on(index.get_mut(&mut twins), n)?,
            }
            for twin in twins.iter().flatten().chain(&listener) {
                twin.poll()?;
            }
        }
    }
}
