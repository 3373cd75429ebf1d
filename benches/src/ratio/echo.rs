//! A TCP echo server on loopback with 50 connections: by epoll, by rawring's two doors, and by io-uring.
//!
//! The client is the same for all, and so is the technique of the rings: a multishot receive for each connection, into
//! buffers that the kernel picks from a ring of them; what came is sent from the buffer that it is in, which goes back
//! when it was sent. A server waits for its turn for as long as the process lives.

use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::thread;

use rawring::buf_ring::{BufRing, Lease, Pick};
use rawring::operand::Group;
use rawring::{Cqe, Errno, Event, InFlight, op};
use rustix::event::epoll;
use rustix::net::{RecvFlags, SendFlags};

use super::{AGAIN, Column, Contest, Pace, Section, Variant, echo_peer};
use crate::rawring::ring_of_one_thread;

pub(super) const CONNECTIONS: usize = 50;
/// Bytes of a message, and of a buffer: nothing is ever received in parts that are larger.
pub(super) const MESSAGE: usize = 128;
/// Buffers for the kernel to pick from; twice as many as messages that are on their way.
pub(super) const BUFFERS: u16 = 128;
/// Slots of the rings.
pub(super) const ENTRIES: u32 = 128;

/// Marks sends; what is below is the number of the connection, and above the number of the buffer.
pub(super) const SEND: u64 = 1 << 16;
pub(super) const BUFFER: u32 = 32;

/// Both ends of the connections; those of the server are second.
fn connect() -> (Vec<TcpStream>, Vec<TcpStream>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("its number");
    let pair = |_| {
        let ours = TcpStream::connect(address).expect("a connection");
        let (theirs, _) = listener.accept().expect("its other end");
        ours.set_nodelay(true).expect("an option");
        theirs.set_nodelay(true).expect("an option");
        (ours, theirs)
    };
    (0..CONNECTIONS).map(pair).unzip()
}

/// Starts a server, and gives the client: it writes to every connection, and reads from every one, by one call for all.
fn client(server: fn(Vec<TcpStream>)) -> impl FnMut(u32) {
    let (streams, theirs) = connect();
    thread::spawn(move || server(theirs));
    let mut ring = ring_of_one_thread(ENTRIES);
    let mut messages = vec![[0_u8; MESSAGE]; CONNECTIONS];
    let mut answers = messages.clone();
    let mut number = 0_u64;
    move |loops| {
        for _ in 0..loops {
            for ((stream, message), answer) in streams.iter().zip(&mut messages).zip(&mut answers) {
                message.chunks_mut(8).zip(number..).for_each(|(to, word)| to.copy_from_slice(&word.to_ne_bytes()));
                number += 1;
                // SAFETY: streams and messages live until the batch is over, and are not changed before.
                unsafe { ring.push_unchecked(op::Send::new(stream, &message[..])) }.expect("room");
                let receive = op::Recv::new(stream, &mut answer[..]).msg_flags(RecvFlags::WAITALL);
                // SAFETY: streams and answers live until the batch is over, and are not looked at before.
                unsafe { ring.push_unchecked(receive) }.expect("room");
            }
            ring.submit_and_wait(2 * CONNECTIONS as u32).expect("waiting");
            let whole = ring.completions().filter(|cqe| cqe.result() == Ok(MESSAGE as u32)).count();
            assert_eq!(whole, 2 * CONNECTIONS, "messages are missing");
            assert_eq!(messages, answers, "that was not an echo");
        }
    }
}

fn by_epoll(streams: Vec<TcpStream>) {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    for (stream, number) in streams.iter().zip(0..) {
        epoll::add(&set, stream, epoll::EventData::new_u64(number), epoll::EventFlags::IN).expect("adding");
    }
    let mut events = Vec::with_capacity(CONNECTIONS);
    let mut buffer = [0; MESSAGE];
    loop {
        events.clear();
        epoll::wait(&set, rustix::buffer::spare_capacity(&mut events), None).expect("waiting");
        for event in &events {
            let stream = &streams[event.data.u64() as usize];
            let (received, _) = rustix::net::recv(stream, &mut buffer, RecvFlags::empty()).expect("receiving");
            if received == 0 {
                return;
            }
            let sent = rustix::net::send(stream, &buffer[..received], SendFlags::NOSIGNAL).expect("sending");
            assert_eq!(sent, received);
        }
    }
}

/// By the door that checks nothing but the room.
fn unchecked(streams: Vec<TcpStream>) {
    // Never closed: receives may be in flight for some time after the ring was.
    let streams = streams.leak();
    let mut ring = ring_of_one_thread(ENTRIES);
    let bufs = BufRing::setup(Group(0), BUFFERS, MESSAGE as u32).build(&mut ring).expect("buffers");
    let receive = |number: usize| op::RecvMulti::new(&streams[number], bufs.group()).user_data(number as u64);
    for number in 0..streams.len() {
        // SAFETY: the stream is never closed, and the group never ends.
        unsafe { ring.push_unchecked(receive(number)) }.expect("room");
    }
    let mut sending: Vec<Option<Lease>> = (0..BUFFERS).map(|_| None).collect();
    loop {
        ring.submit_and_wait(1).expect("waiting");
        let (mut submissions, completions) = ring.split();
        for cqe in completions {
            let key = cqe.user_data().0;
            if key & SEND != 0 {
                let sent = sending[(key >> BUFFER) as usize].take().expect("what was sent");
                assert_eq!(cqe.result(), Ok(sent.len() as u32));
                continue;
            }
            if cqe.result() == Ok(0) {
                return;
            }
            // SAFETY: it is from this ring, and all receives pick one buffer of this group; it is handed in once.
            let lease = received(cqe, unsafe { bufs.take(&cqe, Pick::One) }.ok().and_then(|mut all| all.next()));
            let (number, id) = ((key & (SEND - 1)) as usize, lease.buffer_id());
            let send = op::Send::new(&streams[number], &*lease).msg_flags(SendFlags::NOSIGNAL);
            let send = send.user_data(u64::from(id) << BUFFER | SEND | number as u64);
            // SAFETY: the stream is never closed, and the lease is kept in `sending` until the send is over. Its bytes
            // are in the group's memory, which does not go when a lease does.
            unsafe { submissions.push_unchecked(send) }.expect("room");
            sending[usize::from(id)] = Some(lease);
            if !cqe.more() {
                // SAFETY: as for the first ones.
                unsafe { submissions.push_unchecked(receive(number)) }.expect("room");
            }
        }
    }
}

/// What a receive brought.
fn received(cqe: Cqe, lease: Option<Lease>) -> Lease {
    match lease {
        Some(lease) => lease,
        None => panic!("receiving: {:?}", cqe.result().err().unwrap_or(Errno::PROTO)),
    }
}

/// What is lent to the kernel: the stream, and what is sent on it.
struct Lent(Rc<TcpStream>, Option<Lease>);

/// By the safe door.
fn in_flight(streams: Vec<TcpStream>) {
    let mut ring = ring_of_one_thread(ENTRIES);
    let bufs = BufRing::setup(Group(0), BUFFERS, MESSAGE as u32).build(&mut ring).expect("buffers");
    let mut ring = InFlight::new(ring).expect("a ring that can cancel");
    let group = bufs.group();
    let mut receives = std::collections::HashMap::new();
    let receive = |ring: &mut InFlight<Lent>, stream: &Rc<TcpStream>| {
        let state = Lent(stream.clone(), None);
        ring.start(state, |lent| op::RecvMulti::new(&*lent.0, group).into()).expect("room")
    };
    for stream in streams {
        let stream = Rc::new(stream);
        receives.insert(receive(&mut ring, &stream), stream);
    }
    loop {
        ring.submit_and_wait(1).expect("waiting");
        while let Some(event) = ring.next_event() {
            let stream = match event {
                Event::More(ticket, _) => receives[&ticket].clone(),
                Event::Done(done) => match done.state.1 {
                    Some(sent) => {
                        assert_eq!(done.cqe.result(), Ok(sent.len() as u32));
                        continue;
                    }
                    None if done.cqe.result() == Ok(0) => return,
                    None => {
                        receives.remove(&done.ticket);
                        receives.insert(receive(&mut ring, &done.state.0), done.state.0.clone());
                        done.state.0
                    }
                },
                Event::Foreign(cqe) => panic!("nothing else was started: {cqe:?}"),
            };
            let Some(Ok(mut delivery)) = ring.delivered() else { panic!("receiving failed") };
            let state = Lent(stream, delivery.next());
            let send = ring.start(state, |Lent(stream, bytes)| {
                let bytes = bytes.as_deref().expect("what was delivered");
                op::Send::new(&**stream, bytes).msg_flags(SendFlags::NOSIGNAL).into()
            });
            send.expect("room");
        }
    }
}

fn contest() -> Result<Contest, String> {
    let variants = vec![
        Variant::new("epoll", client(by_epoll)),
        Variant::new(format!("epoll{AGAIN}"), client(by_epoll)),
        Variant::new("rawring push_unchecked", client(unchecked)),
        Variant::new("rawring InFlight", client(in_flight)),
        Variant::new("io-uring", client(echo_peer::server)),
    ];
    Ok(Contest { operations: CONNECTIONS as u32, variants, skipped: Vec::new() })
}

/// Echo servers.
pub(super) fn section() -> Section {
    Section {
        name: "echo",
        note: "TCP echo on loopback: messages of 128 bytes on 50 connections. Client and server are threads on one \
               processor, so the time is that of all that happens; the client, one system call for 50 messages and their \
               echoes, is the same for all. The rings have `SINGLE_ISSUER` and `DEFER_TASKRUN`, receive by multishot into \
               a ring of provided buffers, and send from there.",
        unit: "message",
        pinned: true,
        pace: Pace::Slices,
        columns: vec![Column::new("50 connections", |_| contest())],
        targets: Vec::new(),
        memory: None,
    }
}
