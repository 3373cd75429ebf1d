//! Everything that reads bytes which it did not make: entries, completions, messages in provided buffers, control data,
//! offsets of a ring, and the tool's hexadecimal input.
//!
//! The first byte picks the reader, the rest is its input. Nothing may panic, and what a reader gives out lies inside
//! of what it was given.

use rawring::flags::CqeFlags;
use rawring::sys;
use rawring::{ControlMessages, Cqe, Decoded, RawSqe, RecvMsgOut, Sqe, UserData};

#[path = "../../src/bin/rawring/hex.rs"]
mod hex;

/// One input.
pub fn run(data: &[u8]) {
    let Some((&reader, rest)) = data.split_first() else { return };
    let mut input = Input(rest);
    match reader % 7 {
        0 => entry(&mut input),
        1 => wide_entry(&mut input),
        2 => completion(&mut input),
        3 => message(&mut input),
        4 => control(input.0),
        5 => layout(&mut input),
        _ => text(&mut input),
    }
}

/// Bytes to take from; zeros follow the last.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (first, rest) = self.0.split_at(N.min(self.0.len()));
        self.0 = rest;
        let mut bytes = [0; N];
        bytes[..first.len()].copy_from_slice(first);
        bytes
    }

    fn u16(&mut self) -> u16 {
        u16::from_ne_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.take())
    }

    /// A length: mostly a small one, and the largest there are.
    fn len(&mut self) -> usize {
        let [len] = self.take::<1>();
        if len < 224 { len.into() } else { usize::MAX - usize::from(255 - len) }
    }
}

fn inside(part: &[u8], whole: &[u8]) {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    assert!(part.is_empty() || whole.start <= part.start && part.end <= whole.end, "{part:?} of {whole:?}");
}

fn entry(input: &mut Input<'_>) {
    let bytes = input.take();
    let raw = RawSqe::from_bytes(bytes);
    let text = format!("{:?}", Decoded::new(&raw));
    assert!(text.contains(&format!("user_data: {:#x}", raw.user_data)), "{text}");
    // SAFETY: never submitted.
    let sqe = unsafe { Sqe::from_raw(raw) };
    assert_eq!((format!("{sqe:?}"), sqe.raw().as_bytes()), (text.clone(), &bytes));
    match sqe.info() {
        Some(row) => assert!(row.matches(&raw) && text.starts_with(row.name), "{text}"),
        None => assert!(text.starts_with("Unknown"), "{text}"),
    }
    assert!(!format!("{sqe:#?}").is_empty());
    // No bit is without effect on the text.
    let bit = usize::from(input.u16()) % 512;
    let mut other = bytes;
    other[bit / 8] ^= 1 << (bit % 8);
    assert_ne!(format!("{:?}", Decoded::new(&RawSqe::from_bytes(other))), text, "bit {bit} does not show");
}

fn wide_entry(input: &mut Input<'_>) {
    let (first, second) = (RawSqe::from_bytes(input.take()), input.take());
    let text = format!("{:?}", Decoded::wide(&first, &second));
    let shown = second != [0; 64];
    assert_eq!(text.contains("second: ["), shown, "{text}");
}

fn completion(input: &mut Input<'_>) {
    let (key, res, flags) = (u64::from_ne_bytes(input.take()), input.u32() as i32, input.u32());
    let mut cqe = Cqe::new(UserData(key), res, CqeFlags::from_bits_retain(flags));
    if !input.0.is_empty() {
        cqe = cqe.with_big([u64::from_ne_bytes(input.take()), u64::from_ne_bytes(input.take())]);
    }
    let text = format!("{cqe:?}");
    assert!(text.contains(&format!("user_data: {key:#x}")), "{text}");
    assert_eq!((cqe.user_data(), cqe.res(), cqe.raw_flags()), (UserData(key), res, flags));
    assert_eq!(cqe.result().is_err(), res < 0 && !cqe.is_notification(), "{text}");
    assert_eq!(cqe.notification().is_some(), cqe.is_notification(), "{text}");
    let id = (flags >> 16) as u16;
    assert_eq!(cqe.buffer_id(), cqe.flags().contains(CqeFlags::BUFFER).then_some(id), "{text}");
}

fn message(input: &mut Input<'_>) {
    let (name_len, control_len) = (input.len() as u32, input.len());
    // Memory of exactly this size, so that a sanitizer sees the first byte behind it.
    let buffer: Box<[u8]> = input.0.into();
    let kept = 16_usize.checked_add(name_len as usize).and_then(|sum| sum.checked_add(control_len));
    match RecvMsgOut::parse(&buffer, name_len, control_len) {
        Err(short) => {
            assert_eq!((short.needed, short.len), (kept, buffer.len()));
            assert!(kept.is_none_or(|kept| kept > buffer.len()), "{short}");
        }
        Ok(message) => {
            inside(message.name(), &buffer[16..16 + name_len as usize]);
            inside(message.payload(), &buffer[kept.expect("it fits")..]);
            message.control().for_each(|one| inside(one.data, &buffer));
            let (name, payload) = (message.name().len(), message.payload().len());
            assert!(name <= message.name_len() as usize && payload <= message.payload_len() as usize, "{message:?}");
            assert!(message.address().is_none() || message.name_len() as usize == name, "{message:?}");
        }
    }
}

fn control(input: &[u8]) {
    let bytes: Box<[u8]> = input.into();
    let mut left = bytes.len();
    for one in ControlMessages::new(&bytes) {
        inside(one.data, &bytes);
        // Each has a header and its data; together they are no more than there is.
        left = left.checked_sub(size_of::<usize>() + 8 + one.data.len()).expect("messages that do not overlap");
    }
}

fn layout(input: &mut Input<'_>) {
    let mut p = sys::io_uring_params { flags: input.u32(), ..Default::default() };
    // As many as there are, and powers of two more often than not.
    let mut entries = || {
        let n = input.u16();
        if n & 1 == 0 { 1 << (n >> 1 & 31) } else { u32::from(n) }
    };
    (p.sq_entries, p.cq_entries) = (entries(), entries());
    let (sq, cq) = (&mut p.sq_off, &mut p.cq_off);
    let words = [&mut sq.head, &mut sq.tail, &mut sq.ring_mask, &mut sq.ring_entries, &mut sq.flags, &mut sq.dropped];
    let more = [&mut cq.head, &mut cq.tail, &mut cq.ring_mask, &mut cq.ring_entries, &mut cq.overflow, &mut cq.flags];
    for word in words.into_iter().chain(more) {
        *word = u32::from(input.u16());
    }
    (sq.array, cq.cqes) = (input.u32(), input.u32());
    let given = [input.u32() as usize, input.u32() as usize];
    let asked = [sys::map::ring_len(&p), sys::map::sqes_len(&p)].map(|len| len.unwrap_or(0));
    // What is given, what it takes, and a byte less of either.
    let [ring, sqes] = asked;
    for [ring_len, sqes_len] in [given, asked, [ring.saturating_sub(1), sqes], [ring, sqes.saturating_sub(1)]] {
        match sys::map::layout(&p, ring_len, sqes_len) {
            Err(error) => assert!(!error.to_string().is_empty()),
            Ok(l) => {
                let words = [l.sq_head, l.sq_tail, l.sq_ring_mask, l.sq_ring_entries, l.sq_flags, l.sq_dropped];
                let more = [l.cq_head, l.cq_tail, l.cq_ring_mask, l.cq_ring_entries, l.cq_overflow];
                let words = words.into_iter().chain(more).chain(l.cq_flags).map(|at| (at, 4, 4));
                let array = l.sq_array.map(|at| (at, 4 * l.sq_entries as usize, 4));
                let slots = (l.cqes, (16 * l.cq_entries as usize) << l.cqe_shift, 8);
                let mut parts: Vec<_> = words.chain(array).chain([slots]).collect();
                parts.sort_unstable();
                for (at, len, align) in &parts {
                    assert!(at + len <= ring_len && at % align == 0, "{l:?} in {ring_len}");
                }
                assert!(parts.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{l:?}");
                assert!((64 * l.sq_entries as usize) << l.sqe_shift <= sqes_len, "{l:?} in {sqes_len}");
            }
        }
    }
}

fn text(input: &mut Input<'_>) {
    let [choice] = input.take();
    let (size, wide) = (if choice & 1 == 0 { 16 } else { 64 }, choice & 2 != 0);
    let Ok(text) = std::str::from_utf8(input.0) else { return };
    match hex::records(text, size, wide) {
        Err(error) => assert!(error.to_string().starts_with("line "), "{error}"),
        Ok(records) => {
            let fits = |record: &Vec<u8>| record.len() == 2 * size || !wide && record.len() == size;
            assert!(records.iter().all(fits), "{records:?}");
            // Written out again, a line each, they are the same.
            let line = |record: &Vec<u8>| record.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
            let again: String = records.iter().map(line).collect();
            assert_eq!(hex::records(&again, size, wide), Ok(records));
        }
    }
}
