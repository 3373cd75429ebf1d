//! Rules over the fields of an entry, and the program that follows them.
//!
//! A test compares some bits of what a filter sees with given ones. Fields narrower than a word, in another byte order,
//! or of several words all come down to masks and values of bytes at an offset, which are compared word by word: filters
//! can load nothing else. A rule is its tests one after the other, each of which jumps past the rule where it fails.

use std::net::{Ipv4Addr, Ipv6Addr};

use libc::sock_filter;

use super::bpf::Verdict;
use super::bpf_program::BadProgram;
use rawring_sys as sys;
use sys::io_uring_bpf_ctx as Context;

/// A condition on an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Test {
    /// Where the first byte is, a multiple of 4.
    offset: usize,
    mask: [u8; WIDEST],
    value: [u8; WIDEST],
    /// Any of the masked bits is enough, and `value` of no account.
    any: bool,
}

/// An address of IPv6.
const WIDEST: usize = 16;

/// Where what depends on the operation begins.
const ARG: usize = core::mem::offset_of!(Context, arg);

impl Test {
    /// The bytes from `at` on.
    fn bytes<const N: usize>(at: usize, mask: [u8; N], value: [u8; N], any: bool) -> Self {
        let mut test = Test { offset: at & !3, mask: [0; WIDEST], value: [0; WIDEST], any };
        let first = at - test.offset;
        for (n, (mask, value)) in mask.into_iter().zip(value).enumerate() {
            // A value outside of its mask would be true of nothing.
            (test.mask[first + n], test.value[first + n]) = (mask, value & mask);
        }
        test
    }

    fn whole<const N: usize>(at: usize, value: [u8; N]) -> Self {
        Self::bytes(at, [0xff; N], value, false)
    }

    /// These bits of the entry's `user_data` are as in `value`.
    pub fn user_data(mask: u64, value: u64) -> Self {
        Self::bytes(core::mem::offset_of!(Context, user_data), mask.to_ne_bytes(), value.to_ne_bytes(), false)
    }

    /// Of the flags of the entry in `mask` (`IOSQE_*`), exactly those in `value` are set.
    pub fn sqe_flags(mask: u8, value: u8) -> Self {
        Self::bytes(core::mem::offset_of!(Context, sqe_flags), [mask], [value], false)
    }

    /// A socket of this address family (`AF_*`), for `SOCKET`.
    pub fn socket_family(family: u32) -> Self {
        Self::whole(ARG + core::mem::offset_of!(sys::io_uring_bpf_ctx_socket, family), family.to_ne_bytes())
    }

    /// A socket of this type (`SOCK_*`), whatever its flags, for `SOCKET`.
    pub fn socket_type(kind: u32) -> Self {
        // Linux 7.0 and 7.1 show the flags as well, so that a type could be disguised by one.
        const TYPE: u32 = 0xf;
        let at = ARG + core::mem::offset_of!(sys::io_uring_bpf_ctx_socket, r#type);
        Self::bytes(at, TYPE.to_ne_bytes(), kind.to_ne_bytes(), false)
    }

    /// A socket of this protocol (`IPPROTO_*`), for `SOCKET`.
    pub fn socket_protocol(protocol: u32) -> Self {
        Self::whole(ARG + core::mem::offset_of!(sys::io_uring_bpf_ctx_socket, protocol), protocol.to_ne_bytes())
    }

    /// Of the flags in `mask` (`O_*`), exactly those in `value` are set, for `OPENAT` and `OPENAT2`.
    pub fn open_flags(mask: u64, value: u64) -> Self {
        let at = ARG + core::mem::offset_of!(sys::io_uring_bpf_ctx_open, flags);
        Self::bytes(at, mask.to_ne_bytes(), value.to_ne_bytes(), false)
    }

    /// Any of these flags (`O_*`) is set, for `OPENAT` and `OPENAT2`.
    pub fn open_flags_any(mask: u64) -> Self {
        Test { any: true, ..Self::open_flags(mask, mask) }
    }

    /// Any of these bits of a new file's mode is set, for `OPENAT` and `OPENAT2`.
    pub fn open_mode_any(mask: u64) -> Self {
        let at = ARG + core::mem::offset_of!(sys::io_uring_bpf_ctx_open, mode);
        Self::bytes(at, mask.to_ne_bytes(), mask.to_ne_bytes(), true)
    }

    /// Of the flags in `mask` (`RESOLVE_*`), exactly those in `value` are set, for `OPENAT2`.
    pub fn open_resolve(mask: u64, value: u64) -> Self {
        let at = ARG + core::mem::offset_of!(sys::io_uring_bpf_ctx_open, resolve);
        Self::bytes(at, mask.to_ne_bytes(), value.to_ne_bytes(), false)
    }

    /// An address of this family (`AF_*`), for `CONNECT`. What filters see of that came with Linux 7.2.
    pub fn connect_family(family: u32) -> Self {
        Self::whole(ARG + core::mem::offset_of!(sys::io_uring_bpf_ctx_connect, family), family.to_ne_bytes())
    }

    /// This port, for `CONNECT`. It is 0 for addresses that have none.
    pub fn connect_port(port: u16) -> Self {
        Self::whole(ARG + core::mem::offset_of!(sys::io_uring_bpf_ctx_connect, port), port.to_be_bytes())
    }

    /// The first `prefix` bits of the address are as in this one, for `CONNECT`. Goes with a test of the
    /// [family](Self::connect_family).
    pub fn connect_v4(address: Ipv4Addr, prefix: u32) -> Self {
        let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix)).unwrap_or(0);
        let at = ARG + core::mem::offset_of!(sys::io_uring_bpf_ctx_connect, addr);
        Self::bytes(at, mask.to_be_bytes(), address.octets(), false)
    }

    /// As [`connect_v4`](Self::connect_v4), for IPv6.
    pub fn connect_v6(address: Ipv6Addr, prefix: u32) -> Self {
        let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix)).unwrap_or(0);
        let at = ARG + core::mem::offset_of!(sys::io_uring_bpf_ctx_connect, addr);
        Self::bytes(at, mask.to_be_bytes(), address.octets(), false)
    }

    /// The words that the test is about: offset, mask and value of each.
    fn words(&self) -> impl Iterator<Item = (u32, u32, u32)> {
        let word = |bytes: &[u8; WIDEST], at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        (0..WIDEST)
            .step_by(4)
            .map(move |at| ((self.offset + at) as u32, word(&self.mask, at), word(&self.value, at)))
            .filter(|(_, mask, _)| *mask != 0)
    }

    /// Where the last byte that it is about ends.
    fn end(&self) -> usize {
        self.mask.iter().rposition(|&mask| mask != 0).map_or(0, |last| self.offset + last + 1)
    }
}

/// The rules of a filter, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules(Vec<(Vec<Test>, Verdict)>);

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const ANY: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

fn instruction(code: u32, k: u32, jt: usize, jf: usize) -> Result<sock_filter, BadProgram> {
    let jump = |skipped: usize| u8::try_from(skipped).map_err(|_| BadProgram::TooLong);
    Ok(sock_filter { code: code as u16, jt: jump(jt)?, jf: jump(jf)?, k })
}

impl Rules {
    pub(super) fn add(&mut self, tests: &[Test], verdict: Verdict) {
        self.0.push((tests.to_vec(), verdict));
    }

    /// How many bytes of what depends on the operation the rules are about.
    pub(super) fn sees(&self) -> u8 {
        let end = self.0.iter().flat_map(|(tests, _)| tests).map(Test::end).max().unwrap_or(0);
        // The context has 40 bytes.
        end.saturating_sub(ARG) as u8
    }

    pub(super) fn compile(&self) -> Result<Vec<sock_filter>, BadProgram> {
        let mut program = Vec::new();
        for (tests, verdict) in &self.0 {
            // From the last instruction to the first, so that it is known how far there is to jump.
            let mut rule = vec![verdict_of(*verdict)?];
            for test in tests.iter().rev() {
                // An instruction that has `n` behind it in the rule jumps over as many to leave it.
                let words: Vec<_> = test.words().collect();
                if test.any {
                    let passed = rule.len();
                    for (n, &(offset, mask, _)) in words.iter().rev().enumerate() {
                        // One word with such a bit is enough; the last one without leaves the rule.
                        let no = if n == 0 { passed } else { 0 };
                        rule.push(instruction(ANY, mask, rule.len() - passed, no)?);
                        rule.push(instruction(LOAD, offset, 0, 0)?);
                    }
                    if words.is_empty() {
                        rule.push(instruction(libc::BPF_JMP | libc::BPF_JA, rule.len() as u32, 0, 0)?);
                    }
                } else {
                    for &(offset, mask, value) in words.iter().rev() {
                        rule.push(instruction(EQUAL, value, 0, rule.len())?);
                        if mask != u32::MAX {
                            rule.push(instruction(AND, mask, 0, 0)?);
                        }
                        rule.push(instruction(LOAD, offset, 0, 0)?);
                    }
                }
            }
            program.extend(rule.into_iter().rev());
        }
        program.push(verdict_of(Verdict::Deny)?);
        Ok(program)
    }
}

fn verdict_of(verdict: Verdict) -> Result<sock_filter, BadProgram> {
    instruction(RETURN, u32::from(verdict == Verdict::Allow), 0, 0)
}

#[cfg(test)]
mod tests {
    use super::super::bpf_program::{Program, tests::run};
    use super::*;

    /// What the rules say, without a program.
    fn decide(rules: &Rules, context: &[u8; 40]) -> bool {
        let holds = |test: &Test| {
            let mut bytes = (0..WIDEST).filter(|&n| test.mask[n] != 0).map(|n| {
                let byte = context[test.offset + n] & test.mask[n];
                if test.any { byte != 0 } else { byte == test.value[n] }
            });
            if test.any { bytes.any(|set| set) } else { bytes.all(|same| same) }
        };
        let rule = rules.0.iter().find(|(tests, _)| tests.iter().all(holds));
        rule.is_some_and(|(_, verdict)| *verdict == Verdict::Allow)
    }

    /// Numbers that look random, and are the same every time.
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            self.0 >> 33
        }

        /// Small, so that things are often equal.
        fn small(&mut self) -> u64 {
            self.next() % 4
        }
    }

    fn test(numbers: &mut Numbers) -> Test {
        let (mask, value) = (numbers.small() << 32 | numbers.small(), numbers.small() << 32 | numbers.small());
        let (prefix, byte) = (numbers.next() as u32 % 140, value as u8);
        match numbers.next() % 12 {
            0 => Test::user_data(mask, value),
            1 => Test::sqe_flags(mask as u8, byte),
            2 => Test::socket_family(value as u32),
            3 => Test::socket_type(value as u32),
            4 => Test::socket_protocol(value as u32),
            5 => Test::open_flags(mask, value),
            6 => Test::open_flags_any(mask),
            7 => Test::open_mode_any(mask),
            8 => Test::open_resolve(mask, value),
            9 => Test::connect_port(u16::from(byte)),
            10 => Test::connect_v4(Ipv4Addr::new(byte, 0, 0, byte), prefix),
            _ => Test::connect_v6(Ipv6Addr::new(0, byte.into(), 0, 0, 0, 0, 0, 1), prefix),
        }
    }

    #[test]
    fn programs_decide_as_their_rules() {
        let mut numbers = Numbers(7);
        let mut allowed = 0;
        for _ in 0..2000 {
            let mut rules = Rules::default();
            for _ in 0..numbers.small() {
                let tests: Vec<_> = (0..numbers.small()).map(|_| test(&mut numbers)).collect();
                rules.add(&tests, if numbers.small() < 2 { Verdict::Allow } else { Verdict::Deny });
            }
            let program = Program::new(rules.compile().expect("short")).expect("what the kernel takes");
            for _ in 0..10 {
                let context: [u8; 40] =
                    std::array::from_fn(|_| if numbers.small() == 0 { numbers.small() as u8 } else { 0 });
                let verdict = run(&program, &context);
                assert_eq!(verdict == 1, decide(&rules, &context), "{rules:?} on {context:?}:\n{program:?}");
                allowed += verdict;
            }
        }
        assert!((2000..18_000).contains(&allowed), "{allowed} of 20000 were allowed");
    }

    #[test]
    fn fields_are_where_the_kernel_has_them() {
        let mut context = [0; 40];
        context[..8].copy_from_slice(&0x1122_3344_5566_7788_u64.to_ne_bytes());
        (context[8], context[9]) = (sys::IORING_OP_CONNECT, sys::IOSQE_ASYNC);
        context[16..20].copy_from_slice(&2_u32.to_ne_bytes());
        context[20..22].copy_from_slice(&443_u16.to_be_bytes());
        context[24..28].copy_from_slice(&[192, 0, 2, 77]);
        let holds = |tests: &[Test]| {
            let mut rules = Rules::default();
            rules.add(tests, Verdict::Allow);
            run(&Program::new(rules.compile().expect("short")).expect("a program"), &context) == 1
        };
        let net = Ipv4Addr::new(192, 0, 2, 0);
        let all = [
            Test::user_data(0xffff << 48, 0x1122 << 48),
            Test::sqe_flags(0xff, sys::IOSQE_ASYNC),
            Test::connect_family(2),
            Test::connect_port(443),
            Test::connect_v4(net, 24),
        ];
        assert!(holds(&all));
        assert!(!holds(&[Test::connect_v4(net, 32)]) && holds(&[Test::connect_v4(net, 0)]));
        assert!(!holds(&[Test::connect_port(443_u16.swap_bytes())]));
        assert!(!holds(&[Test::sqe_flags(0xff, 0)]) && !holds(&[Test::user_data(u64::MAX, 0)]));
        let v6 = Test::connect_v6(Ipv6Addr::from([192, 0, 2, 77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 128);
        assert!(holds(&[v6]), "the same bytes");
        assert_eq!((v6.end(), all[3].end(), Test::user_data(u64::MAX, 0).end()), (40, 22, 8));
    }

    #[test]
    fn a_rule_that_cannot_be_jumped_over_is_too_long() {
        let mut rules = Rules::default();
        rules.add(&[Test::connect_port(1); 85], Verdict::Allow);
        rules.add(&[Test::connect_port(1); 84], Verdict::Allow);
        assert!(rules.compile().is_ok());
        rules.add(&[Test::connect_port(1); 100], Verdict::Allow);
        assert_eq!(rules.compile().err(), Some(BadProgram::TooLong));
    }
}
