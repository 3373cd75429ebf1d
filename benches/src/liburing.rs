//! The peer liburing, by a small C file that is compiled when it is found.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong};
use std::path::PathBuf;
use std::process::Command;
use std::ptr::NonNull;
use std::sync::OnceLock;

use libloading::{Library, Symbol};

use crate::{LARGEST, MARK, Placed, Reads, Rounds, Work};

#[repr(C)]
struct State([u8; 0]);

/// The compiled C file.
#[derive(Debug)]
pub struct Liburing(Library);

impl Liburing {
    /// Compiles and loads it, once.
    ///
    /// # Errors
    ///
    /// Why there is none here.
    pub fn get() -> Result<&'static Liburing, &'static str> {
        static LIBRARY: OnceLock<Result<Liburing, String>> = OnceLock::new();
        LIBRARY.get_or_init(Self::load).as_ref().map_err(String::as_str)
    }

    fn load() -> Result<Self, String> {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/liburing.c");
        let object = Self::place();
        if !object.exists() {
            let mut cc = Command::new("cc");
            // To a name of its own first: other processes of this benchmark may look for the real one meanwhile.
            let partial = object.with_extension(std::process::id().to_string());
            cc.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&partial).args([source, "-luring"]);
            let output = cc.output().map_err(|error| format!("no C compiler: {error}"))?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                let first = said.lines().find(|line| line.contains("error")).unwrap_or("cc failed").to_owned();
                return Err(format!("needs liburing-dev: {first}"));
            }
            std::fs::rename(&partial, &object).map_err(|error| error.to_string())?;
        }
        // SAFETY: it is what was compiled from the file above, and does nothing when it is loaded.
        unsafe { Library::new(&object) }.map(Liburing).map_err(|error| error.to_string())
    }

    /// Beside the benchmark itself, whose name changes with what it is built from.
    fn place() -> PathBuf {
        std::env::current_exe().expect("the benchmark has a name").with_extension("liburing.so")
    }

    fn symbol<T>(&self, name: &str) -> Symbol<'_, T> {
        // SAFETY: the callers name the types that the C file has.
        unsafe { self.0.get(name.as_bytes()) }.expect("a function of the C file")
    }
}

struct C {
    library: &'static Liburing,
    state: NonNull<State>,
    work: Work,
    /// Holds the file open.
    _reads: Reads,
    buffers: Vec<u8>,
    seed: u64,
}

impl Rounds for C {
    const COPIED: bool = false;

    fn round(&mut self, batch: u32) -> u64 {
        self.rounds(1, batch);
        MARK * u64::from(batch)
    }

    #[inline(always)]
    fn rounds(&mut self, loops: u32, batch: u32) {
        let state = self.state.as_ptr();
        let result = if self.work == Work::Read {
            type Read =
                unsafe extern "C" fn(*mut State, c_uint, c_uint, *mut c_char, c_ulonglong, *mut c_ulonglong) -> c_int;
            let read: Symbol<'_, Read> = self.library.symbol("rounds_read");
            let (buffers, seed) = (self.buffers.as_mut_ptr().cast(), &raw mut self.seed);
            // SAFETY: the state is live, and there are buffers for the largest batch.
            unsafe { read(state, loops, batch, buffers, Reads::BLOCKS, seed) }
        } else {
            let nop: Symbol<'_, unsafe extern "C" fn(*mut State, c_uint, c_uint) -> c_int> =
                self.library.symbol("rounds_nop");
            // SAFETY: the state is live.
            unsafe { nop(state, loops, batch) }
        };
        assert_eq!(result, 0, "an operation failed, or is missing");
    }
}

impl Drop for C {
    fn drop(&mut self) {
        let free: Symbol<'_, unsafe extern "C" fn(*mut State)> = self.library.symbol("rounds_free");
        // SAFETY: it is live until here.
        unsafe { free(self.state.as_ptr()) }
    }
}

pub(crate) fn make(work: Work) -> Option<Box<dyn Placed>> {
    type New = unsafe extern "C" fn(c_uint, c_int, c_int, c_int) -> *mut State;
    let library = Liburing::get().ok()?;
    let reads = Reads::new();
    let new: Symbol<'_, New> = library.symbol("rounds_new");
    // SAFETY: plain numbers; the file stays open as long as the state lives.
    let state = unsafe { new(LARGEST, reads.fd(), Reads::LEN as c_int, (work == Work::NopWide).into()) };
    let state = NonNull::new(state).expect("a ring");
    let buffers = vec![0; Reads::LEN * LARGEST as usize];
    Some(Box::new(C { library, state, work, _reads: reads, buffers, seed: Reads::SEED }))
}
