//! System calls in one instruction, for the architectures on which stable Rust has inline assembly
//! and Linux has io_uring: x86-64, x86, AArch64, Arm, RISC-V, LoongArch and s390x.
//!
//! None of the blocks is `nomem` or `readonly`: to the compiler a call may read and write any memory
//! that is reachable from outside, which is just what the kernel does with the rings, and so a call
//! is also a compiler barrier. Each names the registers that the kernel does not give back.

use super::Call;

/// Whether there is assembly for this target. x32 and the 32-bit ABI of AArch64 are targets of their
/// own, with other numbers or argument rules; they go through libc.
pub(super) const AVAILABLE: bool = cfg!(any(
    all(target_arch = "x86_64", target_pointer_width = "64"),
    target_arch = "x86",
    all(target_arch = "aarch64", target_pointer_width = "64"),
    target_arch = "arm",
    target_arch = "riscv64",
    target_arch = "loongarch64",
    target_arch = "s390x",
));

/// The number of a call, the same on all of these architectures.
#[inline(always)]
const fn number(call: Call) -> usize {
    match call {
        Call::Setup => 425,
        Call::Enter => 426,
        Call::Register => 427,
    }
}

/// Makes a call. Returns as the kernel does: a negated error number or the result.
///
/// # Safety
///
/// That of the call.
#[inline(always)]
pub(super) unsafe fn syscall6(call: Call, a: [usize; 6]) -> isize {
    let [a0, a1, a2, a3, a4, a5] = a;
    // SAFETY: the caller's promise is the same.
    unsafe { raw(number(call), a0, a1, a2, a3, a4, a5) }
}

#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
#[inline(always)]
unsafe fn raw(number: usize, a0: usize, a1: usize, a2: usize, a3: usize, a4: usize, a5: usize) -> isize {
    let ret;
    // SAFETY: the instruction enters the kernel, which changes rax, rcx and r11 and gives back all
    // else, the flags included; what it does with memory is the caller's promise.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number => ret,
            in("rdi") a0,
            in("rsi") a1,
            in("rdx") a2,
            in("r10") a3,
            in("r8") a4,
            in("r9") a5,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack, preserves_flags),
        );
    }
    ret
}

#[cfg(target_arch = "x86")]
#[inline(always)]
unsafe fn raw(number: usize, a0: usize, a1: usize, a2: usize, a3: usize, a4: usize, a5: usize) -> isize {
    // The fourth argument belongs in esi and the sixth in ebp, which LLVM keeps for itself: they and
    // the number travel through memory, and the two registers are saved around the call. Not
    // `nostack`, because of the pushes.
    let packed = [number, a3, a5];
    let ret;
    // SAFETY: the instruction enters the kernel, which changes eax and gives back all else; esi and
    // ebp are restored; `packed` is read through eax before the stack pointer or eax matter.
    unsafe {
        core::arch::asm!(
            "push esi",
            "push ebp",
            "mov esi, [eax + 4]",
            "mov ebp, [eax + 8]",
            "mov eax, [eax]",
            "int 0x80",
            "pop ebp",
            "pop esi",
            inlateout("eax") packed.as_ptr() => ret,
            in("ebx") a0,
            in("ecx") a1,
            in("edx") a2,
            in("edi") a4,
            options(preserves_flags),
        );
    }
    ret
}

// Linux drops the SVE state of a task that makes a system call, but for what the procedure call
// standard keeps over a call. No clobber list can say that for every caller into which this might be
// inlined; that it is a call says it.
#[cfg(all(target_arch = "aarch64", target_pointer_width = "64"))]
#[inline(never)]
unsafe fn raw(number: usize, a0: usize, a1: usize, a2: usize, a3: usize, a4: usize, a5: usize) -> isize {
    let ret;
    // SAFETY: the instruction enters the kernel, which changes x0 and gives back all other base
    // registers and the flags; SVE state is the caller's to save, because this is a function call.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a0 => ret,
            in("x1") a1,
            in("x2") a2,
            in("x3") a3,
            in("x4") a4,
            in("x5") a5,
            options(nostack, preserves_flags),
        );
    }
    ret
}

#[cfg(target_arch = "arm")]
#[inline(always)]
unsafe fn raw(number: usize, a0: usize, a1: usize, a2: usize, a3: usize, a4: usize, a5: usize) -> isize {
    let ret;
    // SAFETY: the instruction enters the kernel, which changes r0 and gives back all else. The number
    // belongs in r7, which is the frame pointer in Thumb code and so no operand there: it is saved in
    // a register of the compiler's choice and restored.
    unsafe {
        core::arch::asm!(
            "mov {saved}, r7",
            "mov r7, {number}",
            "svc 0",
            "mov r7, {saved}",
            saved = out(reg) _,
            number = in(reg) number,
            inlateout("r0") a0 => ret,
            in("r1") a1,
            in("r2") a2,
            in("r3") a3,
            in("r4") a4,
            in("r5") a5,
            options(nostack, preserves_flags),
        );
    }
    ret
}

// A system call loses all vector registers and their configuration, exactly as a function call does;
// so it must be one, see AArch64.
#[cfg(target_arch = "riscv64")]
#[inline(never)]
unsafe fn raw(number: usize, a0: usize, a1: usize, a2: usize, a3: usize, a4: usize, a5: usize) -> isize {
    let ret;
    // SAFETY: the instruction enters the kernel, which changes a0 and gives back all other integer
    // and float registers; vector state is the caller's to save, because this is a function call.
    unsafe {
        core::arch::asm!(
            "ecall",
            in("a7") number,
            inlateout("a0") a0 => ret,
            in("a1") a1,
            in("a2") a2,
            in("a3") a3,
            in("a4") a4,
            in("a5") a5,
            options(nostack),
        );
    }
    ret
}

#[cfg(target_arch = "loongarch64")]
#[inline(always)]
unsafe fn raw(number: usize, a0: usize, a1: usize, a2: usize, a3: usize, a4: usize, a5: usize) -> isize {
    let ret;
    // SAFETY: the instruction enters the kernel, which changes a0 and t0 to t8 and gives back all
    // else; what it does with memory is the caller's promise.
    unsafe {
        core::arch::asm!(
            "syscall 0",
            in("$a7") number,
            inlateout("$a0") a0 => ret,
            in("$a1") a1,
            in("$a2") a2,
            in("$a3") a3,
            in("$a4") a4,
            in("$a5") a5,
            lateout("$t0") _,
            lateout("$t1") _,
            lateout("$t2") _,
            lateout("$t3") _,
            lateout("$t4") _,
            lateout("$t5") _,
            lateout("$t6") _,
            lateout("$t7") _,
            lateout("$t8") _,
            options(nostack, preserves_flags),
        );
    }
    ret
}

#[cfg(target_arch = "s390x")]
#[inline(always)]
unsafe fn raw(number: usize, a0: usize, a1: usize, a2: usize, a3: usize, a4: usize, a5: usize) -> isize {
    let ret;
    // SAFETY: the instruction enters the kernel, which changes r2 and gives back all else, the
    // condition code included; what it does with memory is the caller's promise.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("r1") number,
            inlateout("r2") a0 => ret,
            in("r3") a1,
            in("r4") a2,
            in("r5") a3,
            in("r6") a4,
            in("r7") a5,
            options(nostack, preserves_flags),
        );
    }
    ret
}

// Where AVAILABLE is false this is never called; it is there so that the code above compiles.
#[cfg(not(any(
    all(target_arch = "x86_64", target_pointer_width = "64"),
    target_arch = "x86",
    all(target_arch = "aarch64", target_pointer_width = "64"),
    target_arch = "arm",
    target_arch = "riscv64",
    target_arch = "loongarch64",
    target_arch = "s390x",
)))]
#[inline(always)]
unsafe fn raw(_: usize, _: usize, _: usize, _: usize, _: usize, _: usize, _: usize) -> isize {
    -(super::Errno::NOSYS.raw_os_error() as isize)
}
