//! The peer rustix-uring, used as its documentation shows.

use rustix_uring::{IoUring, cqueue, opcode, squeue, types::Fd};

use crate::{LARGEST, MARK, Placed, Reads, Rounds, Work, opaque};

#[inline(always)]
fn round<S: squeue::EntryMarker, C: cqueue::EntryMarker>(
    ring: &mut IoUring<S, C>,
    batch: u32,
    mut entry: impl FnMut(u32) -> S,
    reaped: impl Fn(&C) -> u64,
) -> u64 {
    let mut queue = ring.submission();
    for number in 0..batch {
        // SAFETY: the entries name nothing but the buffers of `Reads`, which live until they completed.
        unsafe { queue.push(&entry(number)) }.expect("room");
    }
    drop(queue);
    ring.submit_and_wait(batch as usize).expect("submission");
    ring.completion().map(|cqe| opaque(reaped(&cqe))).sum()
}

struct Nops(IoUring);

impl Rounds for Nops {
    #[inline(always)]
    fn round(&mut self, batch: u32) -> u64 {
        round(&mut self.0, batch, |_| opcode::Nop::new().build().user_data(MARK), cqueue::Entry::user_data_u64)
    }
}

struct Wide(IoUring<squeue::Entry128, cqueue::Entry32>);

impl Rounds for Wide {
    #[inline(always)]
    fn round(&mut self, batch: u32) -> u64 {
        let entry = |_| opcode::Nop::new().build().user_data(MARK).into();
        round(&mut self.0, batch, entry, |cqe| cqe.user_data().u64_())
    }
}

struct Blocks(IoUring, Reads);

impl Rounds for Blocks {
    #[inline(always)]
    fn round(&mut self, batch: u32) -> u64 {
        let reads = &mut self.1;
        let entry = |number: u32| {
            let (buffer, offset) = reads.next(number);
            let read = opcode::Read::new(Fd(reads.fd()), buffer.cast(), Reads::LEN as u32).offset(offset);
            read.build().user_data(MARK)
        };
        round(&mut self.0, batch, entry, cqueue::Entry::user_data_u64)
    }

    fn check(&self, batch: u32) {
        self.1.check(batch);
    }
}

pub(crate) fn make(work: Work) -> Option<Box<dyn Placed>> {
    Some(match work {
        Work::Nop => Box::new(Nops(IoUring::new(LARGEST).expect("a ring"))),
        Work::NopWide => Box::new(Wide(IoUring::builder().build(LARGEST).expect("a ring"))),
        Work::Read => Box::new(Blocks(IoUring::new(LARGEST).expect("a ring"), Reads::new())),
    })
}
