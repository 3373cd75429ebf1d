//! Connections: an echo server with a receive pending on each, and clients that use few or all of them.
//!
//! Server and clients are one thread with a ring each, and take turns: nothing is measured but their work and the
//! kernel's. The clients' sockets are registered and have no descriptors, so that there can be as many connections as
//! there may be descriptors.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rawring::buf_ring::{BufRing, Pick};
use rawring::op::{Recv, RecvMulti, Send};
use rawring::operand::{Fixed, Group};
use rawring::{Cqe, Ring};
use rustix::net::sockopt::{set_socket_linger, set_tcp_nodelay};

use crate::curve::{Family, KERNEL_MEMORY, MEMORY, Step, ns};
use crate::machine::{self, Memory, forever, median, median_round, nanoseconds};

pub const FAMILY: Family = Family {
    name: "connections",
    title: "Connections",
    about: "A server has a multishot receive pending on each connection, into one ring of provided buffers, and sends back \
            what it receives from the buffer where it lies. 32 clients at a time send 64 bytes and read the answer: always \
            the same 32, or all in turn, in random order. Server and clients are one thread, so an echo is two sends and \
            two receives. To connect is to make both ends, and to arm the receive. Memory is that of both ends.",
    of: "connections",
    variants: &["TCP", "Unix sockets"],
    measures: &[ns("connect"), ns("echo, few active"), ns("echo, all active"), MEMORY, KERNEL_MEMORY],
    steps: &[1, 4, 16, 64, 256, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18],
    smoke: 1 << 8,
    measure,
};

/// Clients that send at once.
const BATCH: usize = 32;
static MESSAGE: [u8; 64] = [7; 64];
/// Connections to an address. There are about 28,000 ports for them, and the kernel searches long once half are taken.
const PORTS: usize = 1 << 12;

fn measure(variant: usize, size: u64, step: &mut Step) -> Result<(), String> {
    machine::can_open(size)?;
    let batch = BATCH.min(size as usize);
    let time = machine::time(step);
    let memory = Memory::now();
    let mut server = Server::new(size as usize);
    let mut clients = Clients::new(size as u32);
    let mut listener = None;
    let mut begin = Instant::now();
    let mut times = Vec::new();
    for number in 0..size as usize {
        let (near, far) = if variant == 0 {
            if number % PORTS == 0 {
                listener = Some(TcpListener::bind((Ipv4Addr::new(127, 0, 0, 1 + (number / PORTS) as u8), 0)));
            }
            let listener = listener.as_ref().and_then(|listener| listener.as_ref().ok()).expect("an address");
            tcp(listener)
        } else {
            let (near, far) = UnixStream::pair().expect("sockets");
            (near.into(), far.into())
        };
        clients.add(number, near.as_fd());
        server.add(number, forever(far));
        if (number + 1) % batch == 0 {
            server.submit();
            times.push(nanoseconds(begin, batch as u64));
            begin = Instant::now();
        }
    }
    step.say("connect", median(times));
    let mut order: Vec<u32> = (0..size as u32).collect();
    fastrand::shuffle(&mut order);
    let few = order[..batch].to_vec();
    let each = median_round(time, batch as u64, || clients.ask(&few, &mut server));
    step.say("echo, few active", each);
    memory.say(step, size);
    let mut turns = order.chunks_exact(batch).cycle();
    let all = median_round(5 * time, batch as u64, || {
        clients.ask(turns.next().expect("it goes round"), &mut server);
    });
    step.say("echo, all active", all);
    Ok(())
}

fn tcp(listener: &TcpListener) -> (OwnedFd, OwnedFd) {
    let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    let (far, _) = listener.accept().expect("a connection");
    for end in [&near, &far] {
        set_tcp_nodelay(end, true).expect("no delay");
        // Closing leaves nothing behind that would keep the port.
        set_socket_linger(end, Some(Duration::ZERO)).expect("no linger");
    }
    (near.into(), far.into())
}

struct Server {
    ring: Ring,
    bufs: BufRing,
    sockets: Vec<BorrowedFd<'static>>,
}

/// In the `user_data` of sends.
const SENT: u64 = 1 << 32;

impl Server {
    fn new(size: usize) -> Self {
        let mut ring = machine::ring(256, 512);
        let bufs = BufRing::setup(Group(0), 2 * BATCH as u16, MESSAGE.len() as u32).build(&mut ring);
        Server { ring, bufs: bufs.expect("a ring of buffers"), sockets: Vec::with_capacity(size) }
    }

    fn add(&mut self, number: usize, socket: BorrowedFd<'static>) {
        self.sockets.push(socket);
        let receive = RecvMulti::new(socket, self.bufs.group()).user_data(number as u64);
        self.ring.push(receive).expect("room");
    }

    fn submit(&mut self) {
        self.ring.submit().expect("submitting");
    }

    /// Receives from so many, and sends back what came.
    fn serve(&mut self, count: usize) {
        let Server { ring, bufs, sockets } = self;
        ring.submit_and_wait(count as u32).expect("submitting");
        let mut leases = Vec::with_capacity(count);
        let (mut submissions, completions) = ring.split();
        for cqe in completions {
            assert!(cqe.more(), "the receive goes on: {cqe:?}");
            // SAFETY: this ring's completion, of a receive that picks one buffer of this group, handed in once.
            let mut delivery = unsafe { bufs.take(&cqe, Pick::One) }.expect("the kernel does not lie");
            let lease = delivery.next().expect("a buffer");
            let socket = sockets[cqe.user_data().0 as usize];
            // SAFETY: the lease is kept until its send has completed. Should that not be seen, the group, which owns the
            // memory, is not unregistered, and the memory never freed. The socket stays open, the value is not reserved.
            unsafe { submissions.push_unchecked(Send::new(socket, &lease[..]).user_data(SENT)) }.expect("room");
            leases.push(lease);
        }
        assert_eq!(leases.len(), count);
        ring.submit_and_wait(count as u32).expect("submitting");
        let sent = |cqe: &Cqe| cqe.user_data().0 == SENT && whole(cqe);
        assert_eq!(ring.completions().filter(sent).count(), count);
        bufs.give_back(leases);
    }
}

struct Clients {
    ring: Ring,
}

impl Clients {
    fn new(size: u32) -> Self {
        let ring = machine::ring(64, 128);
        ring.register_sparse_files(size).expect("the limit was looked at");
        Clients { ring }
    }

    fn add(&mut self, number: usize, socket: BorrowedFd<'_>) {
        assert_eq!(self.ring.update_files(number as u32, &[socket.into()]), Ok(1));
    }

    /// Has these clients send and read the answers, which the server gives in between.
    fn ask(&mut self, numbers: &[u32], server: &mut Server) {
        let count = numbers.len() as u32;
        for number in numbers {
            self.ring.push(Send::new(Fixed(*number), &MESSAGE[..])).expect("room");
        }
        self.ring.submit_and_wait(count).expect("submitting");
        assert_eq!(self.ring.completions().filter(whole).count(), numbers.len());
        server.serve(numbers.len());
        let mut answers = [[0; MESSAGE.len()]; BATCH];
        let mut received = 0;
        let end = self.ring.scope(|scope| {
            for (number, answer) in numbers.iter().zip(&mut answers) {
                scope.push(Recv::new(Fixed(*number), &mut answer[..])).expect("room");
            }
            scope.finish(|cqe| received += usize::from(whole(&cqe)))
        });
        end.expect("Linux 5.19").expect("submitting");
        assert_eq!(received, numbers.len());
        assert!(answers[..received].iter().all(|answer| *answer == MESSAGE));
    }
}

/// Whether all of a message was sent or received.
fn whole(cqe: &Cqe) -> bool {
    cqe.result() == Ok(MESSAGE.len() as u32)
}
