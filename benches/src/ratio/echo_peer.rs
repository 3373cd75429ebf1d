//! The echo server by the peer io-uring, which leaves the ring of buffers to its user.

use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode};

use super::echo::{BUFFER, BUFFERS, ENTRIES, MESSAGE, SEND};

/// A ring of buffers, with the buffers. Never freed: the kernel lets go of them some time after the ring was closed.
struct Buffers {
    entries: &'static mut Entries,
    memory: &'static mut [[u8; MESSAGE]],
    tail: u16,
}

#[repr(C, align(4096))]
struct Entries([[u64; 2]; BUFFERS as usize]);

impl Buffers {
    fn new(ring: &IoUring) -> Self {
        let memory = vec![[0; MESSAGE]; BUFFERS as usize].leak();
        let entries = Box::leak(Box::new(Entries([[0; 2]; BUFFERS as usize])));
        let mut buffers = Buffers { entries, memory, tail: 0 };
        let address = &raw mut *buffers.entries as u64;
        // SAFETY: the memory is never freed.
        unsafe { ring.submitter().register_buf_ring_with_flags(address, BUFFERS, 0, 0) }.expect("a ring of buffers");
        (0..BUFFERS).for_each(|id| buffers.give(id));
        buffers.show();
        buffers
    }

    /// Puts a buffer behind the others.
    fn give(&mut self, id: u16) {
        let base = (&raw mut *self.entries).cast::<BufRingEntry>();
        let address = self.memory[usize::from(id)].as_mut_ptr() as u64;
        // SAFETY: masked, it is an entry of the ring, all of whose bits mean something; the kernel does not read it
        // before the tail is beyond it. The last field, where the tail is in the first entry, is left alone.
        let entry = unsafe { &mut *base.add(usize::from(self.tail & (BUFFERS - 1))) };
        entry.set_addr(address);
        entry.set_len(MESSAGE as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel see what was given.
    fn show(&mut self) {
        let base = (&raw mut *self.entries).cast::<BufRingEntry>();
        // SAFETY: the place of the tail is in the first entry, aligned, and shared by atomic accesses only.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

/// Echoes until a connection ends.
pub(super) fn server(streams: Vec<TcpStream>) {
    let mut builder = IoUring::builder();
    let mut ring: IoUring = builder.setup_single_issuer().setup_defer_taskrun().build(ENTRIES).expect("a ring");
    let mut buffers = Buffers::new(&ring);
    let fd = |number: u64| Fd(streams[number as usize].as_raw_fd());
    let receive = |number: u64| opcode::RecvMulti::new(fd(number), 0).build().user_data(number);
    for number in 0..streams.len() as u64 {
        // SAFETY: the entry names no memory but that of the buffers, which is never freed.
        unsafe { ring.submission().push(&receive(number)) }.expect("room");
    }
    loop {
        ring.submit_and_wait(1).expect("waiting");
        let (_, mut submissions, completions) = ring.split();
        for cqe in completions {
            let key = cqe.user_data();
            if key & SEND != 0 {
                assert_eq!(cqe.result(), MESSAGE as i32, "sending");
                buffers.give((key >> BUFFER) as u16);
                continue;
            }
            if cqe.result() == 0 {
                return;
            }
            let id = cqueue::buffer_select(cqe.flags()).expect("a buffer");
            let bytes = u32::try_from(cqe.result()).expect("receiving");
            let send = opcode::Send::new(fd(key), buffers.memory[usize::from(id)].as_ptr(), bytes);
            let send = send.flags(libc::MSG_NOSIGNAL).build().user_data(u64::from(id) << BUFFER | SEND | key);
            // SAFETY: nobody uses the buffer until the send is over, and it is never freed.
            unsafe { submissions.push(&send) }.expect("room");
            if !cqueue::more(cqe.flags()) {
                // SAFETY: as for the first ones.
                unsafe { submissions.push(&receive(key)) }.expect("room");
            }
        }
        buffers.show();
    }
}
