//! Programs of classic BPF, checked as the kernel checks those of filters.
//!
//! Invariant: a [`Program`] is one that the kernel (seen in Linux 7.3) takes: its instructions are among those that
//! filters may have, it ends, reads nothing outside of what an entry shows, and no memory cell that it has not written.

use core::fmt;

use libc::sock_filter;

use rawring_sys as sys;

/// A program of classic BPF that the kernel takes as a filter: it returns 0 to deny, and something else to allow.
///
/// Its loads are of the 32-bit words of an [`io_uring_bpf_ctx`](sys::io_uring_bpf_ctx).
#[derive(Clone)]
pub struct Program(Vec<sock_filter>);

/// Why there is no such program; for some, which instruction it is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BadProgram {
    /// It has no instructions.
    Empty,
    /// It has more instructions than 4096, or a rule has more tests than can be jumped over.
    TooLong,
    /// There is no such instruction, or not in filters.
    Instruction(usize),
    /// A load from an offset that is not in the context, or not a multiple of 4.
    Load(usize),
    /// A memory cell that there is not (there are 16), or that may not have been written.
    Memory(usize),
    /// A division by 0, or a shift by 32 or more.
    Operand(usize),
    /// A jump out of the program.
    Jump(usize),
    /// The last instruction does not return.
    End,
}

impl std::error::Error for BadProgram {}

impl fmt::Display for BadProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadProgram::Empty => f.write_str("a filter without instructions decides nothing"),
            BadProgram::TooLong => f.write_str(
                "the filter is too long: at most 4096 instructions, and in a rule as many tests as can be jumped over",
            ),
            BadProgram::Instruction(at) => write!(f, "instruction {at} is not one of those that filters may have"),
            BadProgram::Load(at) => {
                write!(f, "instruction {at} loads from outside of io_uring_bpf_ctx, or not from a multiple of 4")
            }
            BadProgram::Memory(at) => {
                write!(f, "instruction {at} is about a memory cell above 15, or one that may not have been written")
            }
            BadProgram::Operand(at) => write!(f, "instruction {at} divides by 0, or shifts by 32 or more"),
            BadProgram::Jump(at) => write!(f, "instruction {at} jumps out of the program"),
            BadProgram::End => f.write_str("the last instruction has to return"),
        }
    }
}

/// The parts of an instruction's code.
const LD: u32 = libc::BPF_LD;
const LDX: u32 = libc::BPF_LDX;
const ALU: u32 = libc::BPF_ALU;
const JMP: u32 = libc::BPF_JMP;
const RET: u32 = libc::BPF_RET;
const MISC: u32 = libc::BPF_MISC;
const LOAD_WORD: u32 = LD | libc::BPF_W | libc::BPF_ABS;

/// What an instruction does, as far as it can be wrong.
enum Does {
    Nothing,
    Load,
    Reads,
    Writes,
    Divides,
    Shifts,
    Goes,
    Branches,
    Returns,
}

fn does(code: u16) -> Option<Does> {
    let code = u32::from(code);
    let binary = |op: u32| code == ALU | op | libc::BPF_K || code == ALU | op | libc::BPF_X;
    let branch = |op: u32| code == JMP | op | libc::BPF_K || code == JMP | op | libc::BPF_X;
    const PLAIN: [u32; 6] = [libc::BPF_ADD, libc::BPF_SUB, libc::BPF_MUL, libc::BPF_AND, libc::BPF_OR, libc::BPF_XOR];
    const NOTHING: [u32; 7] = [
        LD | libc::BPF_W | libc::BPF_LEN,
        LDX | libc::BPF_W | libc::BPF_LEN,
        LD | libc::BPF_IMM,
        LDX | libc::BPF_IMM,
        ALU | libc::BPF_NEG,
        MISC | libc::BPF_TAX,
        MISC | libc::BPF_TXA,
    ];
    const BRANCHES: [u32; 4] = [libc::BPF_JEQ, libc::BPF_JGE, libc::BPF_JGT, libc::BPF_JSET];
    Some(match code {
        LOAD_WORD => Does::Load,
        _ if NOTHING.contains(&code) || PLAIN.into_iter().any(binary) => Does::Nothing,
        _ if code == LD | libc::BPF_MEM || code == LDX | libc::BPF_MEM => Does::Reads,
        libc::BPF_ST | libc::BPF_STX => Does::Writes,
        // By a number that is in the program; what is computed cannot be checked before.
        _ if code == ALU | libc::BPF_DIV | libc::BPF_K => Does::Divides,
        _ if code == ALU | libc::BPF_LSH | libc::BPF_K || code == ALU | libc::BPF_RSH | libc::BPF_K => Does::Shifts,
        _ if [libc::BPF_DIV, libc::BPF_LSH, libc::BPF_RSH].into_iter().any(binary) => Does::Nothing,
        _ if code == JMP | libc::BPF_JA => Does::Goes,
        _ if BRANCHES.into_iter().any(branch) => Does::Branches,
        _ if code == RET | libc::BPF_K || code == RET | libc::BPF_A => Does::Returns,
        _ => return None,
    })
}

impl Program {
    /// Checks instructions.
    ///
    /// # Errors
    ///
    /// [`BadProgram`] names the first instruction that the kernel would not take, and why.
    pub fn new(instructions: Vec<sock_filter>) -> Result<Self, BadProgram> {
        let len = instructions.len();
        if len == 0 {
            return Err(BadProgram::Empty);
        }
        if len > libc::BPF_MAXINSNS as usize {
            return Err(BadProgram::TooLong);
        }
        // Jumps go forward only, so that one pass meets every way to an instruction before the instruction. The cells
        // that were written on all of them:
        let mut cells = vec![u16::MAX; len];
        cells[0] = 0;
        for (at, &sock_filter { code, jt, jf, k }) in instructions.iter().enumerate() {
            let does = does(code).ok_or(BadProgram::Instruction(at))?;
            let mut written = cells[at];
            // Only the first 16 cells have a bit.
            let cell = 1_u16.checked_shl(k).unwrap_or(0);
            match does {
                Does::Load if k % 4 != 0 || k as usize >= size_of::<sys::io_uring_bpf_ctx>() => {
                    return Err(BadProgram::Load(at));
                }
                Does::Reads if written & cell == 0 => return Err(BadProgram::Memory(at)),
                Does::Writes if cell == 0 => return Err(BadProgram::Memory(at)),
                Does::Writes => written |= cell,
                Does::Divides if k == 0 => return Err(BadProgram::Operand(at)),
                Does::Shifts if k >= 32 => return Err(BadProgram::Operand(at)),
                _ => {}
            }
            let next: &[u32] = match does {
                Does::Returns => &[],
                Does::Goes => &[k],
                Does::Branches => &[jt.into(), jf.into()],
                _ => &[0],
            };
            for &skipped in next {
                let to = cells.get_mut((at + 1).saturating_add(skipped as usize)).ok_or(match does {
                    Does::Goes | Does::Branches => BadProgram::Jump(at),
                    _ => BadProgram::End,
                })?;
                *to &= written;
            }
        }
        let last = instructions[len - 1].code;
        if matches!(does(last), Some(Does::Returns)) { Ok(Program(instructions)) } else { Err(BadProgram::End) }
    }

    /// The instructions.
    #[must_use]
    pub fn instructions(&self) -> &[sock_filter] {
        &self.0
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |i: &sock_filter| format!("{:#04x} {} {} {:#x}", i.code, i.jt, i.jf, i.k);
        f.debug_list().entries(self.0.iter().map(line)).finish()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Runs a program, as the kernel does.
    pub(in super::super) fn run(program: &Program, context: &[u8; 40]) -> u32 {
        let (mut a, mut x, mut memory, mut at) = (0_u32, 0_u32, [0_u32; 16], 0);
        loop {
            let sock_filter { code, jt, jf, k } = program.0[at];
            let code = u32::from(code);
            at += 1;
            let operand = if code & libc::BPF_X != 0 { x } else { k };
            match code & 7 {
                LD | LDX => {
                    let value = match code & 0xe0 {
                        libc::BPF_ABS => {
                            let word = context[k as usize..][..4].try_into().expect("four bytes");
                            u32::from_ne_bytes(word)
                        }
                        libc::BPF_MEM => memory[k as usize],
                        libc::BPF_LEN => 40,
                        _ => k,
                    };
                    *(if code & 7 == LD { &mut a } else { &mut x }) = value;
                }
                libc::BPF_ST => memory[k as usize] = a,
                libc::BPF_STX => memory[k as usize] = x,
                ALU => {
                    a = match code & 0xf0 {
                        libc::BPF_ADD => a.wrapping_add(operand),
                        libc::BPF_AND => a & operand,
                        op => panic!("{op:#x} is for a test that needs it"),
                    }
                }
                JMP => {
                    let yes = match code & 0xf0 {
                        libc::BPF_JA => {
                            at += k as usize;
                            continue;
                        }
                        libc::BPF_JEQ => a == operand,
                        libc::BPF_JGT => a > operand,
                        libc::BPF_JGE => a >= operand,
                        _ => a & operand != 0,
                    };
                    at += usize::from(if yes { jt } else { jf });
                }
                RET => return if code & libc::BPF_A != 0 { a } else { k },
                _ => (a, x) = if code & libc::BPF_TXA != 0 { (x, x) } else { (a, a) },
            }
        }
    }

    fn op(code: u32, k: u32) -> sock_filter {
        sock_filter { code: code as u16, jt: 0, jf: 0, k }
    }

    #[test]
    fn what_the_kernel_would_not_take_is_named() {
        let allow = || op(RET | libc::BPF_K, 1);
        let bad = |instructions: Vec<sock_filter>| Program::new(instructions).expect_err("a bad program");
        assert_eq!(bad(vec![]), BadProgram::Empty);
        assert_eq!(bad(vec![allow(); 4097]), BadProgram::TooLong);
        assert!(Program::new(vec![allow(); 4096]).is_ok());
        assert_eq!(bad(vec![op(LD | libc::BPF_IMM, 1)]), BadProgram::End);
        assert_eq!(bad(vec![allow(), op(LD | libc::BPF_B | libc::BPF_ABS, 0), allow()]), BadProgram::Instruction(1));
        assert_eq!(bad(vec![op(ALU | libc::BPF_MOD | libc::BPF_K, 1), allow()]), BadProgram::Instruction(0));
        for offset in [2, 40, u32::MAX] {
            assert_eq!(bad(vec![op(LOAD_WORD, offset), allow()]), BadProgram::Load(0));
        }
        assert!(Program::new(vec![op(LOAD_WORD, 36), allow()]).is_ok());
        assert_eq!(bad(vec![op(ALU | libc::BPF_DIV | libc::BPF_K, 0), allow()]), BadProgram::Operand(0));
        assert_eq!(bad(vec![op(ALU | libc::BPF_RSH | libc::BPF_K, 32), allow()]), BadProgram::Operand(0));
        assert!(Program::new(vec![op(ALU | libc::BPF_RSH | libc::BPF_X, 32), allow()]).is_ok());
        assert_eq!(bad(vec![op(JMP | libc::BPF_JA, 1), allow()]), BadProgram::Jump(0));
        assert_eq!(bad(vec![op(JMP | libc::BPF_JA, u32::MAX), allow()]), BadProgram::Jump(0));
        let branch = |jt, jf| sock_filter { code: (JMP | libc::BPF_JEQ) as u16, jt, jf, k: 0 };
        assert_eq!(bad(vec![branch(0, 1), allow()]), BadProgram::Jump(0));
        assert!(Program::new(vec![branch(0, 1), allow(), allow()]).is_ok());
    }

    #[test]
    fn memory_has_to_be_written_on_every_way() {
        let allow = || op(RET | libc::BPF_K, 1);
        let (write, read) = (op(libc::BPF_ST, 15), op(LD | libc::BPF_MEM, 15));
        assert!(Program::new(vec![write, read, allow()]).is_ok());
        assert_eq!(Program::new(vec![read, write, allow()]).err(), Some(BadProgram::Memory(0)));
        assert_eq!(Program::new(vec![op(libc::BPF_STX, 16), allow()]).err(), Some(BadProgram::Memory(0)));
        // Written only if the branch was not taken.
        let over = sock_filter { code: (JMP | libc::BPF_JEQ) as u16, jt: 1, jf: 0, k: 0 };
        assert_eq!(Program::new(vec![over, write, read, allow()]).err(), Some(BadProgram::Memory(2)));
        assert!(Program::new(vec![write, over, allow(), read, allow()]).is_ok());
    }
}
