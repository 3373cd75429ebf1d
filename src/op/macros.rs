//! The macro that declares operations, and its parts. See [`super`] for what it is for.

macro_rules! mark {
    ($at:ident has $value:expr) => {
        $crate::op::Mark::Has($crate::sqe::At::$at, ($value) as u64)
    };
    ($at:ident is $value:expr) => {
        $crate::op::Mark::Is($crate::sqe::At::$at, ($value) as u64)
    };
    ($at:ident nonzero) => {
        $crate::op::Mark::NonZero($crate::sqe::At::$at)
    };
}

macro_rules! arg {
    (into $t:ty) => { impl Into<$t> };
    (val $t:ty) => { $t };
}

macro_rules! sets_doc {
    ($at:ident has $value:expr) => {
        concat!("; sets `", stringify!($value), "` in `", stringify!($at), "`")
    };
}

macro_rules! life {
    () => {
        $crate::op::Life::Value
    };
    ($life:ident) => {
        $crate::op::Life::$life
    };
}

macro_rules! life_doc {
    () => {
        ""
    };
    (Submitted) => {
        "; needed until submitted"
    };
    (Completed) => {
        "; needed until completed"
    };
    (Notified) => {
        "; needed until the notification"
    };
}

macro_rules! output {
    () => {
        false
    };
    (out) => {
        true
    };
}

macro_rules! output_doc {
    () => {
        ""
    };
    (out) => {
        ", written by the kernel"
    };
}

macro_rules! since {
    ($row:literal) => {
        $crate::Version::parse($row)
    };
    ($row:literal $own:literal) => {
        $crate::Version::parse($own)
    };
}

macro_rules! since_doc {
    () => {
        ""
    };
    ($own:literal) => {
        concat!("; Linux ", $own)
    };
}

macro_rules! entry {
    () => { $crate::sqe::Sqe<'a> };
    (wide) => { $crate::sqe::Sqe128<'a> };
}

macro_rules! wide {
    () => {
        false
    };
    (wide) => {
        true
    };
}

/// Declares operations; see the module's text. The grammar, in order:
///
/// ```text
/// /// Documentation: one sentence, what the result means where `result` is too short for it, errors.
/// Name = IORING_OP_X, "5.1", Once {
///     contract unsafe "1. what the caller promises";          // makes `new` unsafe
///     new(into file: File<'a> => [FD] Completed, val len: u64 => [ADDR])
///     with {
///         /// Documentation of the setter.
///         into buf: BufMut<'a> => [ADDR, LEN] Completed out "6.1";   // life, output, release: each may be missing
///         val result: i32 => [LEN] + [NOP_FLAGS has IORING_NOP_INJECT_RESULT];   // flags that belong to an operand
///     }
///     marks [IOPRIO has IORING_RECV_MULTISHOT, FILE_INDEX nonzero]   // set by `new`, except `nonzero`
///     defaults [OFF = u64::MAX]
///     result "bytes read"
/// }
/// ```
///
/// `into` arguments are taken as `impl Into<T>`, `val` ones as `T`. A descriptor is needed until `Completed`, see
/// [`Life`](crate::op::Life). `Name = OP, "since", Once, wide` makes a 128-byte
/// entry.
macro_rules! ops {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident = $opcode:ident, $since:literal, $completes:ident $(, $wide:ident)? {
            $(contract $unsafe:ident $contract:literal;)?
            new($(
                $how:ident $arg:ident: $ty:ty => [$($at:ident),+]
                    $(+ [$($sat:ident has $sval:expr),+])? $($life:ident $($out:ident)?)?
            ),* $(,)?)
            $(with { $(
                $(#[doc = $wdoc:literal])*
                $whow:ident $warg:ident: $wty:ty => [$($wat:ident),+]
                    $(+ [$($wsat:ident has $wsval:expr),+])? $($wlife:ident $($wout:ident)?)? $($wsince:literal)?;
            )* })?
            $(marks [$($mat:ident $mop:ident $($mval:expr)?),+ $(,)?])?
            $(defaults [$($dat:ident = $dval:expr),+ $(,)?])?
            result $result:literal
        }
    )*) => {
        /// The rows of this file.
        pub(crate) const ROWS: &[&$crate::op::OpInfo] = &[$($name::INFO),*];

        $(
            $(#[doc = $doc])*
            #[doc = ""]
            #[doc = concat!("`", stringify!($opcode), "`, Linux ", $since, ". Result: ", $result, ".")]
            #[must_use = "an operation does nothing until it is pushed to a ring"]
            #[repr(transparent)]
            pub struct $name<'a>(entry!($($wide)?));

            impl<'a> $name<'a> {
                /// The operation's row in the table.
                pub const INFO: &'static $crate::op::OpInfo = &$crate::op::OpInfo {
                    name: stringify!($name),
                    opcode: $crate::op::Opcode(rawring_sys::$opcode),
                    since: $crate::Version::parse($since),
                    result: $result,
                    completes: $crate::op::Completes::$completes,
                    wide: wide!($($wide)?),
                    marks: &[$($(mark!($mat $mop $($mval)?)),+)?],
                    defaults: &[$($(($crate::sqe::At::$dat, ($dval) as u64)),+)?],
                    operands: &[
                        $( $crate::op::OperandInfo {
                            name: stringify!($arg),
                            at: &[$($crate::sqe::At::$at),+],
                            sets: &[$($(($crate::sqe::At::$sat, ($sval) as u64)),+)?],
                            kind: <$ty as $crate::operand::Operand>::KIND,
                            life: life!($($life)?),
                            output: output!($($($out)?)?),
                            required: true,
                            since: $crate::Version::parse($since),
                        }, )*
                        $($( $crate::op::OperandInfo {
                            name: stringify!($warg),
                            at: &[$($crate::sqe::At::$wat),+],
                            sets: &[$($(($crate::sqe::At::$wsat, ($wsval) as u64)),+)?],
                            kind: <$wty as $crate::operand::Operand>::KIND,
                            life: life!($($wlife)?),
                            output: output!($($($wout)?)?),
                            required: false,
                            since: since!($since $($wsince)?),
                        }, )*)?
                    ],
                    #[cfg(test)]
                    arbitrary: |source| $name::arbitrary(source),
                };

                #[doc = concat!("A new `", stringify!($opcode), "`.")]
                #[doc = ""]
                $(
                    #[doc = concat!(
                        "- `", stringify!($arg), "`: in", $(" `", stringify!($at), "`",)+
                        life_doc!($($life)?), output_doc!($($($out)?)?) $($(, sets_doc!($sat has $sval))+)?
                    )]
                )*
                $(
                    #[doc = "\n# Safety\n\n"]
                    #[doc = $contract]
                )?
                #[inline(always)]
                #[allow(clippy::new_without_default, reason = "an operation is no value that has a default")]
                pub $($unsafe)? fn new($($arg: arg!($how $ty)),*) -> Self {
                    #[allow(unused_mut, reason = "some rows have nothing to set")]
                    let mut op = $name(<entry!($($wide)?)>::empty(rawring_sys::$opcode));
                    $($( put_mark!(op, $mat $mop $($mval)?); )+)?
                    $($( op.entry_mut().set($crate::sqe::At::$dat, ($dval) as u64); )+)?
                    $(
                        let arg: $ty = take!($how $arg);
                        $crate::operand::Operand::put(arg, op.entry_mut(), &[$($crate::sqe::At::$at),+]);
                        $($( put_mark!(op, $sat has $sval); )+)?
                    )*
                    op
                }

                $($(
                    $(#[doc = $wdoc])*
                    #[doc = ""]
                    #[doc = concat!(
                        "In", $(" `", stringify!($wat), "`",)+ life_doc!($($wlife)?),
                        output_doc!($($($wout)?)?), since_doc!($($wsince)?) $($(, sets_doc!($wsat has $wsval))+)?
                    )]
                    #[inline(always)]
                    pub fn $warg(mut self, $warg: arg!($whow $wty)) -> Self {
                        let arg: $wty = take!($whow $warg);
                        $crate::operand::Operand::put(arg, self.entry_mut(), &[$($crate::sqe::At::$wat),+]);
                        $($( put_mark!(self, $wsat has $wsval); )+)?
                        self
                    }
                )*)?

                $crate::sqe::common_setters!();

                /// An entry with operands from `source`: see the tests of the table.
                #[cfg(test)]
                fn arbitrary(source: &mut $crate::op::tests::Source<'a>) -> $crate::sqe::Sqe128<'a> {
                    #[allow(unused_unsafe, reason = "some constructors are unsafe")]
                    // SAFETY: the tests never submit an entry, and that is when a contract matters.
                    let mut op = unsafe { $name::new($(source.operand::<$ty>(stringify!($arg))),*) };
                    source.done(op.entry_mut());
                    while let Some(setter) = source.setter() {
                        op = match setter {
                            $($(stringify!($warg) => op.$warg(source.operand::<$wty>(setter)),)*)?
                            "user_data" => op.user_data(source.operand::<$crate::UserData>(setter)),
                            "flags" => op.flags(source.operand::<$crate::flags::SqeFlags>(setter)),
                            "personality" => op.personality(source.operand::<u16>(setter)),
                            other => panic!("no setter is called {other}"),
                        };
                        source.done(op.entry_mut());
                    }
                    <entry!($($wide)?)>::from(op).into()
                }

                #[inline(always)]
                fn entry_mut(&mut self) -> &mut $crate::sqe::RawSqe {
                    self.0.bytes_mut()
                }
            }

            impl<'a> From<$name<'a>> for entry!($($wide)?) {
                #[inline(always)]
                fn from(op: $name<'a>) -> Self {
                    op.0
                }
            }

            impl core::fmt::Debug for $name<'_> {
                fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                    core::fmt::Debug::fmt(&self.0, f)
                }
            }
        )*
    };
}

macro_rules! put_mark {
    ($op:ident, $at:ident has $value:expr) => {
        let bits = $op.entry_mut().get($crate::sqe::At::$at) | ($value) as u64;
        $op.entry_mut().set($crate::sqe::At::$at, bits);
    };
    ($op:ident, $at:ident is $value:expr) => {
        $op.entry_mut().set($crate::sqe::At::$at, ($value) as u64);
    };
    ($op:ident, $at:ident nonzero) => {};
}

macro_rules! take {
    (into $arg:ident) => {
        $arg.into()
    };
    (val $arg:ident) => {
        $arg
    };
}
