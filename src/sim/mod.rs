//! A kernel in the process.

#[expect(dead_code, reason = "what executes operations on them follows")]
mod object;
#[expect(dead_code, reason = "what presents it follows")]
mod release;
