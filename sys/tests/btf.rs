//! A witness for layouts that no compiler of ours had a hand in: the types that the running kernel exposes in
//! `/sys/kernel/btf/vmlinux` (BTF), as its own compiler laid them out.
//!
//! The kernel may be of any release, and it exposes only what its own code uses. So every field that both sides name has
//! to be at the same place, and what only our side names has to be space that the kernel keeps free, or a place that
//! has another name there. How much was compared is printed, and what was not.
//!
//! BTF is read by hand, since this needs only a few of its kinds, and the library for it has another licence than this
//! crate. The format is that of `Documentation/bpf/btf.rst`.

#[path = "uapi/layouts.rs"]
mod layouts;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

/// The kinds of types that matter here.
mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const FLOAT: u32 = 16;
    pub const DECL_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// One type: its name's offset, its kind, whether members carry sizes of bit fields, its size or the type it refers to,
/// and what follows.
struct Type<'a> {
    name: u32,
    kind: u32,
    bit_fields: bool,
    size_or_type: u32,
    words: &'a [u8],
}

struct Btf<'a> {
    types: Vec<Type<'a>>,
    strings: &'a [u8],
}

/// A field as BTF has it, in bits.
#[derive(Debug, PartialEq)]
struct Member {
    path: String,
    offset: usize,
    size: usize,
}

fn word(bytes: &[u8], index: usize) -> Option<u32> {
    bytes.get(4 * index..4 * index + 4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
}

impl<'a> Btf<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let magic = u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]);
        if magic != 0xeb9f {
            return None;
        }
        let header = |index| word(bytes, index).map(|word| word as usize);
        let body = bytes.get(header(1)?..)?;
        let section = |at: usize, len: usize| body.get(at..)?.get(..len);
        let mut rest = section(header(2)?, header(3)?)?;
        let strings = section(header(4)?, header(5)?)?;
        // Number 0 is void.
        let mut types = vec![Type { name: 0, kind: 0, bit_fields: false, size_or_type: 0, words: &[] }];
        while !rest.is_empty() {
            let (name, info, size_or_type) = (word(rest, 0)?, word(rest, 1)?, word(rest, 2)?);
            let (kind, count) = (info >> 24 & 31, (info & 0xffff) as usize);
            let words = match kind {
                kind::INT | kind::VAR | kind::DECL_TAG => 1,
                kind::ARRAY => 3,
                kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 3 * count,
                kind::ENUM | kind::FUNC_PROTO => 2 * count,
                _ => 0,
            };
            let words = rest.get(12..12 + 4 * words)?;
            types.push(Type { name, kind, bit_fields: info >> 31 != 0, size_or_type, words });
            rest = &rest[12 + words.len()..];
        }
        Some(Btf { types, strings })
    }

    fn name(&self, offset: u32) -> Option<&'a str> {
        let text = self.strings.get(offset as usize..)?;
        std::str::from_utf8(text.split(|byte| *byte == 0).next()?).ok()
    }

    /// The type that names and qualifiers stand for.
    fn resolve(&self, mut id: u32) -> Option<&Type<'a>> {
        loop {
            let found = self.types.get(id as usize)?;
            match found.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = found.size_or_type
                }
                _ => return Some(found),
            }
        }
    }

    /// In bytes.
    fn size(&self, id: u32) -> Option<usize> {
        let found = self.resolve(id)?;
        match found.kind {
            kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::FLOAT | kind::ENUM64 => {
                Some(found.size_or_type as usize)
            }
            kind::PTR => Some(size_of::<usize>()),
            kind::ARRAY => Some(self.size(word(found.words, 0)?)? * word(found.words, 2)? as usize),
            _ => None,
        }
    }

    fn structs(&self) -> impl Iterator<Item = (&'a str, &Type<'a>)> {
        let structs = self.types.iter().filter(|found| found.kind == kind::STRUCT);
        structs.filter_map(|found| Some((self.name(found.name)?, found)))
    }

    /// The fields of a struct, those of unnamed structs and unions in it included.
    fn members(&self, owner: &Type<'a>) -> Option<Vec<Member>> {
        let mut members = Vec::new();
        self.add_members(owner, "", 0, &mut members)?;
        Some(members)
    }

    fn add_members(&self, owner: &Type<'a>, prefix: &str, base: usize, members: &mut Vec<Member>) -> Option<()> {
        for member in owner.words.chunks(12) {
            let (name, id, at) = (self.name(word(member, 0)?)?, word(member, 1)?, word(member, 2)?);
            let (offset, bits) = if owner.bit_fields { (at & 0xff_ffff, at >> 24) } else { (at, 0) };
            let offset = base + offset as usize;
            let inner = self.resolve(id)?;
            let unnamed = matches!(inner.kind, kind::STRUCT | kind::UNION) && self.name(inner.name)?.is_empty();
            if !name.is_empty() {
                let size = if bits > 0 { bits as usize } else { 8 * self.size(id)? };
                members.push(Member { path: format!("{prefix}{name}"), offset, size });
            }
            if unnamed {
                let prefix = if name.is_empty() { prefix.to_owned() } else { format!("{prefix}{name}.") };
                self.add_members(inner, &prefix, offset, members)?;
            }
        }
        Some(())
    }
}

/// What a comparison found.
#[derive(Default)]
struct Findings {
    structs: usize,
    fields: usize,
    not_exposed: Vec<&'static str>,
    /// Fields that this kernel does not name, or not yet.
    unnamed: Vec<String>,
    wrong: Vec<String>,
}

/// Compares what the kernel exposes with this crate. `older` says that the kernel is not newer than our headers.
fn compare(btf: &Btf<'_>, older: bool) -> Findings {
    let theirs: BTreeMap<_, _> = btf.structs().collect();
    let mut ours: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (owner, path, offset, size) in layouts::c_fields() {
        ours.entry(owner).or_default().insert(path, (8 * offset, 8 * size));
    }
    let mut found = Findings::default();
    for (name, size, _) in layouts::structs() {
        let Some(owner) = theirs.get(name) else {
            found.not_exposed.push(name);
            continue;
        };
        found.structs += 1;
        let their_size = owner.size_or_type as usize;
        if their_size != size && !layouts::grows(name) {
            found.wrong.push(format!("{name} has {size} bytes, in the kernel {their_size}"));
        }
        let Some(members) = btf.members(owner) else {
            found.wrong.push(format!("{name}: its fields cannot be read"));
            continue;
        };
        let fields = &ours[name];
        let mut free = vec![true; 8 * size.max(their_size)];
        for Member { path, offset, size } in &members {
            let (last, steps) = (path.rsplit('.').next().unwrap_or(path), path.contains('.'));
            if layouts::reserved(last) {
                continue;
            }
            free[*offset..*offset + *size].fill(false);
            match fields.get(path.as_str()) {
                // A flexible array has no size.
                Some(&(at, len)) if at == *offset && (len == *size || *size == 0) => found.fields += 1,
                Some(&(at, len)) => found
                    .wrong
                    .push(format!("{name}.{path}: {len} bits from bit {at} on, in the kernel {size} from {offset} on")),
                // Without size it is a trick of the header. The name of a union or struct that has no name as a type stands
                // for its fields.
                None if *size == 0
                    || steps
                    || members.iter().any(|other| other.path.starts_with(&format!("{path}."))) => {}
                None if older => {
                    found.wrong.push(format!("{name}.{path} is in the kernel, and not in its later headers"))
                }
                None => {}
            }
        }
        let named: BTreeSet<&str> = members.iter().map(|member| member.path.as_str()).collect();
        for (path, (at, len)) in fields.iter().filter(|(path, _)| !named.contains(*path)) {
            if layouts::reserved(path.rsplit('.').next().unwrap_or(path)) {
                continue;
            }
            // Unions have further names for what has one, and of an entry also for halves of it; all else has to be free.
            let begins = name == "io_uring_sqe" || members.iter().any(|member| member.offset == *at);
            let alias = begins && *at + *len <= 8 * their_size;
            if !alias && !free[*at..*at + *len].iter().all(|free| *free) {
                found.wrong.push(format!("{name}.{path}: the kernel has something there that begins elsewhere"));
            }
            found.unnamed.push(format!("{name}.{path}"));
        }
    }
    found
}

/// Prints where tests that pass are heard as well.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Whether the running kernel is not newer than the headers of this crate.
fn older() -> bool {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u8>().ok());
    let release = numbers.next().zip(numbers.next());
    release.is_some_and(|release| release <= rawring_sys::MIRRORS)
}

#[test]
fn the_running_kernel_agrees() {
    let path = "/sys/kernel/btf/vmlinux";
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return say(&format!("skipped: the_running_kernel_agrees: {path}: {error}")),
    };
    let btf = Btf::parse(&bytes).expect("types that can be read");
    let found = compare(&btf, older());
    say(&format!(
        "{} structs with {} fields agree with the running kernel's; it does not expose {:?} and does not name {:?}",
        found.structs, found.fields, found.not_exposed, found.unnamed,
    ));
    assert!(found.wrong.is_empty(), "{:#?}", found.wrong);
    for needed in ["io_uring_sqe", "io_uring_cqe", "io_uring_params", "io_sqring_offsets", "io_cqring_offsets"] {
        assert!(!found.not_exposed.contains(&needed), "{needed} is what a kernel with io_uring cannot do without");
    }
    // Each of these has been there since Linux 5.1.
    assert!(found.fields >= 40, "only {} fields were compared", found.fields);
}

#[test]
fn what_is_cut_or_no_btf_is_refused() {
    // One type: `struct s { char a; }`, its member, and the integer; then the names.
    let types = [[1, 4 << 24 | 1, 1], [3, 2, 0], [0, 1 << 24, 1]].concat();
    let types = [types, vec![8]].concat();
    let names = b"\0s\0a\0";
    let len = 4 * types.len() as u32;
    let mut bytes = [&0xeb9f_u16.to_ne_bytes()[..], &[1, 0]].concat();
    let words = [24, 0, len, len, names.len() as u32].into_iter().chain(types);
    words.for_each(|word: u32| bytes.extend_from_slice(&word.to_ne_bytes()));
    bytes.extend_from_slice(names);
    let btf = Btf::parse(&bytes).expect("whole");
    let found = btf.structs().map(|(name, owner)| (name, btf.members(owner).expect("one member")));
    let member = Member { path: "a".to_owned(), offset: 0, size: 8 };
    assert_eq!(found.collect::<Vec<_>>(), [("s", vec![member])]);
    assert!((0..bytes.len()).all(|len| Btf::parse(&bytes[..len]).is_none()), "a part of it");
    bytes[0] ^= 1;
    assert!(Btf::parse(&bytes).is_none(), "another magic number");
}
