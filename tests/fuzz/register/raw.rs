//! Calls with a number, an argument and a count that may be wrong, each in one way or in all.

use std::ffi::c_void;
use std::ptr::{null_mut, without_provenance_mut};

use rawring::Errno;
use rawring::register::{Count, Registration, RegistrationInfo};

use super::Input;
use super::world::Run;

/// What an argument is in, with room for whatever the kernel may write to one.
#[repr(C, align(4096))]
struct Argument([u8; 8192]);

/// The calls that are not made by hand with an argument that may be right; see the top of `register.rs`.
const TYPED_ONLY: [Registration; 6] = [
    Registration::RESTRICTIONS,
    Registration::BPF_FILTER,
    Registration::RESIZE_RINGS,
    Registration::RING_FDS,
    Registration::UNREGISTER_RING_FDS,
    // A descriptor of anything.
    Registration::FILES,
];

impl Run {
    pub fn raw(&mut self, input: &mut Input<'_>) {
        let mut argument = Box::new(Argument([0; 8192]));
        let (number, how) = (input.u8(), input.below(5));
        let rows = RegistrationInfo::ALL;
        if how == 4 {
            // Numbers that mean nothing. The bit that makes the ring's number an index is left out.
            let op = rows.len() as u32 + (u32::from(number) | u32::from(input.u8()) << 22);
            let count = input.u8().into();
            let result = self.call(op, (&raw mut *argument).cast(), count);
            return self.expect("no registration", result, Err(Errno::INVAL));
        }
        let row = &rows[usize::from(number) % rows.len()];
        let (right, has_argument) = (right(row.count), !row.argument.is_empty());
        let valid = (&raw mut *argument).cast();
        match (how, row.count, right) {
            (0, Count::Exactly(count) | Count::Size(count), _) => {
                let wrong = if count > 0 && number & 1 == 0 { count - 1 } else { count + 1 + u32::from(input.u8()) };
                let argument = if has_argument { valid } else { null_mut() };
                let result = self.call(row.registration.0, argument, wrong);
                self.expect(row.name(), result, Err(Errno::INVAL));
            }
            (1, _, Some(count)) if has_argument => {
                let result = self.call(row.registration.0, without_provenance_mut(usize::MAX - 4095), count);
                assert!(!self.strict || result.is_err(), "{}: {result:?}", row.name());
            }
            (2, Count::Exactly(0), _) if !has_argument => {
                // An argument where there is none.
                let result = self.call(row.registration.0, valid, 0);
                self.expect(row.name(), result, Err(Errno::INVAL));
            }
            (_, _, Some(count)) if has_argument && !TYPED_ONLY.contains(&row.registration) => {
                for (n, word) in argument.0.chunks_exact_mut(4).take(18).enumerate() {
                    let any = u32::from_le_bytes([(); 4].map(|()| input.u8()));
                    word.copy_from_slice(&harmless(n, any).to_ne_bytes());
                }
                let result = self.call(row.registration.0, (&raw mut *argument).cast(), count);
                if result.is_ok() {
                    self.undo(row.registration);
                }
            }
            _ => {}
        }
        self.audit_files();
        self.audit_buffers();
    }

    fn call(&self, op: u32, argument: *mut c_void, count: u32) -> Result<u32, Errno> {
        // SAFETY: the argument has room for all that such a call writes, or there is none; what it names is no memory,
        // or descriptors that are in it by accident. Queues and places are left alone.
        unsafe { self.ring.register_raw(op, argument, count) }
    }

    /// A call has done something by accident: whatever table it was, it is gone after this.
    fn undo(&mut self, registration: Registration) {
        match registration {
            Registration::FILES2 | Registration::FILES_UPDATE | Registration::FILES_UPDATE2 => {
                let gone = self.ring.unregister_files();
                self.expect("unregister_files", gone, Ok(()));
                self.forget_files();
            }
            Registration::FILE_ALLOC_RANGE => self.everything_to_the_kernel(),
            Registration::BUFFERS
            | Registration::BUFFERS2
            | Registration::BUFFERS_UPDATE
            | Registration::CLONE_BUFFERS => {
                let gone = self.ring.unregister_buffers();
                self.expect("unregister_buffers", gone, Ok(()));
                self.forget_buffers();
            }
            Registration::EVENTFD | Registration::EVENTFD_ASYNC => {
                let gone = self.ring.register_eventfd(None);
                self.expect("unregistering", gone, Ok(()));
                self.signals.forget();
            }
            Registration::NAPI => _ = self.ring.unregister_napi(),
            _ => {}
        }
    }
}

/// A right count.
fn right(count: Count) -> Option<u32> {
    match count {
        Count::Exactly(count) | Count::Size(count) => Some(count),
        Count::Elements => Some(1),
        Count::Bytes => Some(8),
        Count::Id => None,
    }
}

/// A word of an argument, such that no two of them are the address of memory: below all that is mapped, or above.
fn harmless(n: usize, word: u32) -> u32 {
    let low = (n % 2 == 0) == cfg!(target_endian = "little");
    match word {
        _ if low || cfg!(target_pointer_width = "32") => word & 0xfff,
        0..0x4000_0000 => 0,
        _ => word | 1 << 31,
    }
}
