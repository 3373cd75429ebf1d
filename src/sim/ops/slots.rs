//! The table of registered files, changed by an entry: `FILES_UPDATE`.

use rustix::io::Errno;

use super::super::user::{Input, Output};
use super::{Operation, Outcome, Prepare, Progress, Turn};
use rawring_sys as sys;

/// Files put into slots from one on, or taken out of them.
struct Update {
    first: u32,
    address: u64,
    count: u32,
    /// What the entry names, lent for as long as the operation takes.
    _lent: Result<Input, Errno>,
}

/// Files put wherever there is room; their numbers go to where the descriptors were.
struct Place {
    fds: Result<Vec<i32>, Errno>,
    indices: Result<Output, Errno>,
}

pub(super) fn update(cx: &mut Prepare<'_>) -> Result<Box<dyn Operation>, Errno> {
    let sys::io_uring_sqe { flags, off, len: count, addr: address, op_flags, file_index, .. } = cx.sqe;
    let foreign = sys::IOSQE_FIXED_FILE | sys::IOSQE_BUFFER_SELECT;
    if flags & foreign != 0 || op_flags != 0 || file_index != 0 || count == 0 {
        return Err(Errno::INVAL);
    }
    let len = count as usize * size_of::<i32>();
    if off as u32 == sys::IORING_FILE_INDEX_ALLOC {
        let fd = |bytes: &[u8]| i32::from_ne_bytes(bytes.try_into().expect("four bytes"));
        let fds = cx.read(address, len).map(|bytes| bytes.chunks_exact(size_of::<i32>()).map(fd).collect());
        return Ok(Box::new(Place { fds, indices: cx.output(address, len) }));
    }
    Ok(Box::new(Update { first: off as u32, address, count, _lent: cx.input(address, len) }))
}

impl Operation for Update {
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        let &mut Update { first, address, count, .. } = self;
        let ring = turn.request.ring;
        // SAFETY: by the contract of `io_uring_enter` the array that the entry names is there until the completion.
        let result = unsafe { turn.world.update_files(ring, first, address, 0, count) };
        turn.world.post_tags(ring);
        turn.world.activity();
        Progress::Done(Outcome::from(result.map(|done| done as i32)))
    }
}

impl Operation for Place {
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Progress {
        let (fds, indices) = match (&self.fds, self.indices) {
            (Ok(fds), Ok(indices)) => (fds, indices),
            (&Err(errno), _) | (_, Err(errno)) => return Progress::Done(Outcome::errno(errno)),
        };
        let ring = turn.request.ring;
        if !turn.world.ring(ring).files.has_table() {
            return Progress::Done(Outcome::errno(Errno::NXIO));
        }
        let mut done = 0;
        let mut end = Ok(());
        for &fd in fds {
            let placed = turn.world.objects.get(fd).ok_or(Errno::BADF);
            match placed.and_then(|object| turn.world.ring(ring).files.install(object, sys::IORING_FILE_INDEX_ALLOC)) {
                Ok(index) => {
                    turn.write(indices, done * size_of::<i32>(), &index.to_ne_bytes());
                    done += 1;
                }
                Err(errno) => {
                    end = Err(errno);
                    break;
                }
            }
        }
        // Who sees the array sees the descriptors that were not used.
        for (at, fd) in fds.iter().enumerate().skip(done) {
            turn.write(indices, at * size_of::<i32>(), &fd.to_ne_bytes());
        }
        Progress::Done(match end {
            Err(errno) if done == 0 => Outcome::errno(errno),
            _ => Outcome::of(done as i32),
        })
    }
}
