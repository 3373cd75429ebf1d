//! The submission entry: 64 bytes that name one operation and its operands.
//!
//! The C struct is a heap of unions, because operations share the bytes. Here it is one flat struct
//! with one name for each place; [`SqeField`] knows every C name of every place. What an operation
//! puts where is not known here. Invariant: no padding, so an entry is exactly its 64 bytes.

use super::{SqeField, layout};

/// One entry of the submission queue, flat. Each field's doc lists the C names of its place.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_sqe {
    /// `opcode`: what to do, one of the `IORING_OP_*`.
    pub opcode: u8,
    /// `flags`: `IOSQE_*`.
    pub flags: u8,
    /// `ioprio`: the I/O priority, or flags of network operations (`IORING_RECVSEND_*`, `IORING_ACCEPT_*`).
    pub ioprio: u16,
    /// `fd`: the file to work on: a descriptor, or with `IOSQE_FIXED_FILE` a slot of the registered table.
    pub fd: i32,
    /// `off`, `addr2`; `cmd_op` in the first four bytes, `__pad1` in the last four.
    pub off: u64,
    /// `addr`, `splice_off_in`; `level` in the first four bytes, `optname` in the last four.
    pub addr: u64,
    /// `len`: the size of a buffer, the number of vectors, or whatever small number the operation takes.
    pub len: u32,
    /// The operation's flags: `rw_flags`, `fsync_flags`, `poll_events` (two bytes), `poll32_events`,
    /// `sync_range_flags`, `msg_flags`, `timeout_flags`, `accept_flags`, `cancel_flags`, `open_flags`,
    /// `statx_flags`, `fadvise_advice`, `splice_flags`, `rename_flags`, `unlink_flags`, `hardlink_flags`,
    /// `xattr_flags`, `msg_ring_flags`, `uring_cmd_flags`, `waitid_flags`, `futex_flags`,
    /// `install_fd_flags`, `nop_flags`, `pipe_flags`.
    pub op_flags: u32,
    /// `user_data`: comes back unchanged in the completion.
    pub user_data: u64,
    /// `buf_index`: the registered buffer; `buf_group`: the group from which to select a buffer.
    pub buf_index: u16,
    /// `personality`: the id of registered credentials, or 0.
    pub personality: u16,
    /// `splice_fd_in`, `file_index`, `zcrx_ifq_idx`, `optlen`; `addr_len` in the first two bytes and `__pad3`
    /// in the last two; `write_stream` in the first byte and `__pad4` in the other three.
    pub file_index: u32,
    /// `addr3`, `attr_ptr`, `optval`; the first half of `cmd`.
    pub addr3: u64,
    /// `attr_type_mask`, `__pad2`; the second half of `cmd`.
    pub attr_type_mask: u64,
}
layout!(io_uring_sqe: size 64, align 8, align32 4);

impl io_uring_sqe {
    /// The value at one C name's place, zero-extended, in native byte order.
    ///
    /// Of [`SqeField::CMD`] it is the first 8 bytes; [`cmd`](Self::cmd) gives all. With a constant
    /// `field` this is a single load.
    #[inline(always)]
    #[must_use]
    pub const fn get(&self, field: SqeField) -> u64 {
        let b = self.as_bytes();
        let o = field.offset();
        match field.size() {
            1 => b[o] as u64,
            2 => u16::from_ne_bytes([b[o], b[o + 1]]) as u64,
            // The one place of three bytes is padding; it has no byte order worth the name.
            3 => u32::from_le_bytes([b[o], b[o + 1], b[o + 2], 0]) as u64,
            4 => u32::from_ne_bytes([b[o], b[o + 1], b[o + 2], b[o + 3]]) as u64,
            _ => u64::from_ne_bytes([b[o], b[o + 1], b[o + 2], b[o + 3], b[o + 4], b[o + 5], b[o + 6], b[o + 7]]),
        }
    }

    /// Stores a value at one C name's place, in native byte order, cut to the place's size.
    ///
    /// Of [`SqeField::CMD`] it is the first 8 bytes; [`cmd_mut`](Self::cmd_mut) gives all. With a constant
    /// `field` this is a single store.
    #[inline(always)]
    pub const fn set(&mut self, field: SqeField, value: u64) {
        let o = field.offset();
        let at = &raw mut *self as *mut u8;
        // SAFETY: SqeField's constants are all there are, and each has offset + size <= 64 (checked
        // where they are declared), so every access below stays inside of `self`, which is borrowed
        // mutably; every bit pattern is valid for its integers.
        unsafe {
            let at = at.add(o);
            match field.size() {
                1 => at.write(value as u8),
                2 => at.cast::<u16>().write_unaligned(value as u16),
                3 => {
                    let [a, b, c, ..] = value.to_le_bytes();
                    at.cast::<[u8; 3]>().write([a, b, c]);
                }
                4 => at.cast::<u32>().write_unaligned(value as u32),
                _ => at.cast::<u64>().write_unaligned(value),
            }
        }
    }

    /// The 16 bytes of `cmd` that an entry of 64 bytes has.
    #[inline]
    #[must_use]
    pub const fn cmd(&self) -> &[u8; 16] {
        // SAFETY: `cmd` is offset 48 and size 16, inside of the 64 bytes; no padding, alignment 1.
        unsafe { &*(&raw const *self).cast::<u8>().add(SqeField::CMD.offset()).cast() }
    }

    /// As [`cmd`](Self::cmd), to be changed.
    #[inline]
    #[must_use]
    pub const fn cmd_mut(&mut self) -> &mut [u8; 16] {
        // SAFETY: as in `cmd`; `self` is borrowed mutably, and any bytes make valid integers.
        unsafe { &mut *(&raw mut *self).cast::<u8>().add(SqeField::CMD.offset()).cast() }
    }

    /// The entry as the kernel sees it.
    #[inline]
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        // SAFETY: the size is 64, there is no padding (the fields' sizes add up to 64, checked below), alignment 1.
        unsafe { &*(&raw const *self).cast() }
    }

    /// An entry of these bytes. Every pattern is an entry, if not always one that the kernel accepts.
    #[inline]
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        // SAFETY: the size is 64, and any bytes make valid integers.
        unsafe { core::mem::transmute(bytes) }
    }
}

// No padding: what the 14 fields take is all there is.
const _: () = assert!(2 + 2 + 4 + 8 + 8 + 4 + 4 + 8 + 2 + 2 + 4 + 8 + 8 == size_of::<io_uring_sqe>());

/// An entry of 128 bytes, for rings with `IORING_SETUP_SQE128` or `IORING_SETUP_SQE_MIXED`.
///
/// The header has no name for it. The second half continues `cmd`, and is nothing else.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_sqe128 {
    /// The first 64 bytes.
    pub sqe: io_uring_sqe,
    /// The last 64 bytes, which continue `sqe.cmd()`.
    pub tail: [u8; 64],
}
layout!(io_uring_sqe128: size 128, align 8, align32 4);

impl io_uring_sqe128 {
    /// The 80 bytes of `cmd` that an entry of 128 bytes has.
    #[inline]
    #[must_use]
    pub const fn cmd(&self) -> &[u8; 80] {
        // SAFETY: offset 48 and size 80 end with the 128 bytes; no padding, alignment 1.
        unsafe { &*(&raw const *self).cast::<u8>().add(SqeField::CMD.offset()).cast() }
    }

    /// As [`cmd`](Self::cmd), to be changed.
    #[inline]
    #[must_use]
    pub const fn cmd_mut(&mut self) -> &mut [u8; 80] {
        // SAFETY: as in `cmd`; `self` is borrowed mutably, and any bytes make valid integers.
        unsafe { &mut *(&raw mut *self).cast::<u8>().add(SqeField::CMD.offset()).cast() }
    }

    /// The entry as the kernel sees it.
    #[inline]
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 128] {
        // SAFETY: the size is 128, there is no padding, alignment 1.
        unsafe { &*(&raw const *self).cast() }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    /// Bytes that differ everywhere.
    fn counted() -> io_uring_sqe {
        io_uring_sqe::from_bytes(core::array::from_fn(|i| i as u8 + 1))
    }

    #[test]
    fn get_reads_the_bytes_of_the_place() {
        let sqe = counted();
        for &f in SqeField::ALL {
            let size = f.size().min(8);
            let bytes = &sqe.as_bytes()[f.offset()..f.offset() + size];
            let mut wide = [0; 8];
            if cfg!(target_endian = "big") && size != 3 {
                wide[8 - size..].copy_from_slice(bytes);
                assert_eq!(sqe.get(f), u64::from_be_bytes(wide), "{f:?}");
            } else {
                wide[..size].copy_from_slice(bytes);
                assert_eq!(sqe.get(f), u64::from_le_bytes(wide), "{f:?}");
            }
        }
    }

    #[test]
    fn set_changes_the_place_and_nothing_else() {
        let before = counted();
        for &f in SqeField::ALL {
            let mut sqe = before;
            sqe.set(f, u64::MAX);
            let size = f.size().min(8);
            for (i, (&new, &old)) in sqe.as_bytes().iter().zip(before.as_bytes()).enumerate() {
                let inside = (f.offset()..f.offset() + size).contains(&i);
                assert_eq!(new, if inside { 0xff } else { old }, "{f:?}, byte {i}");
            }
            sqe.set(f, before.get(f));
            assert_eq!(sqe, before, "{f:?}");
        }
    }

    #[test]
    fn flat_fields_are_their_aliases() {
        let sqe = io_uring_sqe { opcode: 7, fd: -3, off: 5 << 32 | 4, op_flags: 9, ..Default::default() };
        assert_eq!(sqe.get(SqeField::OPCODE), 7);
        assert_eq!(sqe.get(SqeField::FD), u64::from(-3_i32 as u32));
        assert_eq!(sqe.get(SqeField::ADDR2), 5 << 32 | 4);
        assert_eq!(sqe.get(SqeField::RW_FLAGS), 9);
        let (first, second) = if cfg!(target_endian = "big") { (5, 4) } else { (4, 5) };
        assert_eq!(sqe.get(SqeField::CMD_OP), first);
        assert_eq!(sqe.get(SqeField::PAD1), second);
    }

    #[test]
    fn cmd_is_the_end_of_the_entry() {
        let mut sqe = counted();
        assert_eq!(sqe.cmd(), &sqe.as_bytes()[48..]);
        sqe.cmd_mut()[15] = 0;
        assert_eq!(sqe.as_bytes()[63], 0);
        let mut long = io_uring_sqe128 { sqe, tail: [3; 64] };
        long.cmd_mut()[79] = 9;
        assert_eq!((long.tail[63], long.as_bytes()[127]), (9, 9));
        assert_eq!(long.cmd()[..16], *long.sqe.cmd());
    }

    #[test]
    fn const_contexts_work() {
        const NOP: io_uring_sqe = {
            let mut sqe = io_uring_sqe::ZERO;
            sqe.set(SqeField::USER_DATA, 42);
            sqe
        };
        const { assert!(NOP.get(SqeField::USER_DATA) == 42) };
        assert_eq!(NOP.user_data, 42);
    }
}
