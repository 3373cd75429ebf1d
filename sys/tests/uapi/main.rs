//! The crate against `linux-7.3.tsv`, which is what a C compiler made of the io_uring headers of Linux 7.3:
//! every constant, every struct, every field, and nothing besides. `neighbours-7.3.tsv` is the same for
//! what the crate takes from other headers.
//!
//! Both directions are tested. From the table: a row that is not compared fails. From the crate: its
//! own source is parsed, and a public constant, struct or field that the table lacks fails, unless
//! a list below names it with a reason. So a list of names that went stale cannot hide anything.

mod installed_header;
mod layouts;
mod names;
mod source;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use rawring_sys::SqeField;
use source::Source;
use table::Table;

/// Modules whose public items are no transcription of headers.
const OTHER_MODULES: [(&str, &str); 3] = [
    ("map", "the mapping of rings, types of this crate"),
    ("syscall", "the system calls, which have no header"),
    ("lib", "the release that the crate mirrors"),
];

/// Constants beside those of the headers.
const OTHER_CONSTS: [(&str, &str); 2] = [
    ("OP_NAMES", "the names of the operations, made with their numbers"),
    ("REGISTER_NAMES", "the names of the registrations, made with their numbers"),
];

/// Structs beside those of the headers that are no part of one.
const OTHER_STRUCTS: [(&str, &str); 2] =
    [("io_uring_sqe128", "the headers have no name for a long entry"), ("SqeField", "the places in an entry")];

/// Types that in C have no name, being declared inside of another: where their fields are in the table.
const PARTS: [(&str, &str, &str); 7] = [
    ("io_uring_restriction_arg", "io_uring_restriction", ""),
    ("zcrx_ctrl_arg", "zcrx_ctrl", ""),
    ("io_uring_bpf_ctx_arg", "io_uring_bpf_ctx", ""),
    ("io_uring_bpf_ctx_socket", "io_uring_bpf_ctx", "socket."),
    ("io_uring_bpf_ctx_open", "io_uring_bpf_ctx", "open."),
    ("io_uring_bpf_ctx_connect", "io_uring_bpf_ctx", "connect."),
    ("io_uring_bpf_ctx_connect_addr", "io_uring_bpf_ctx", "connect."),
];

/// Fields that hold what has no name in C.
const OTHER_FIELDS: [(&str, &str, &str); 5] = [
    ("io_uring_sqe", "op_flags", "one name for the flags of all operations"),
    ("io_uring_restriction", "arg", "an unnamed union"),
    ("zcrx_ctrl", "arg", "an unnamed union"),
    ("io_uring_bpf_ctx", "arg", "an unnamed union"),
    ("io_uring_bpf_ctx_connect", "addr", "an unnamed union"),
];

#[test]
fn the_tables_are_whole() {
    let count = |text| {
        let table = Table::of(&[text]);
        (table.consts.len(), table.structs.len(), table.fields.len())
    };
    assert_eq!(count(table::IO_URING), (301, 51, 310));
    assert_eq!(count(table::NEIGHBOURS), (17, 4, 27));
}

#[test]
fn every_constant_has_the_headers_value() {
    let table = Table::read();
    let ours: BTreeMap<&str, u64> = names::CONSTS.iter().copied().collect();
    assert_eq!(ours.len(), names::CONSTS.len(), "a name is listed twice");
    let mut wrong = Vec::new();
    for (name, &value) in &table.consts {
        // Some architectures write ioctl numbers in their own way; the table is of x86.
        let ioctl = name.starts_with("BLOCK_URING_") || name.starts_with("NVME_URING_");
        if ioctl && cfg!(any(target_arch = "powerpc", target_arch = "powerpc64", target_arch = "mips")) {
            continue;
        }
        match ours.get(name.as_str()) {
            None => wrong.push(format!("{name}: not compared")),
            Some(&found) if found != value => wrong.push(format!("{name}: {found:#x}, in the header {value:#x}")),
            Some(_) => {}
        }
    }
    wrong.extend(ours.keys().filter(|name| !table.consts.contains_key(**name)).map(|name| format!("{name}: no row")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_public_constant_is_in_the_table() {
    let table = Table::read();
    let source = Source::read();
    let excused: BTreeSet<&str> = OTHER_CONSTS.iter().map(|(name, _)| *name).collect();
    let mut found = BTreeSet::new();
    for (module, name) in &source.consts {
        if OTHER_MODULES.iter().any(|(other, _)| other == module) {
            continue;
        }
        assert!(found.insert(name.as_str()), "{name} is declared twice");
        let known = table.consts.contains_key(name) || excused.contains(name.as_str());
        assert!(known, "{module}: {name} is not in the header; if that is right, say why in OTHER_CONSTS");
    }
    // What the parser does not see it could not complain about: it must have seen every row.
    let unseen: Vec<_> = table.consts.keys().filter(|name| !found.contains(name.as_str())).collect();
    assert!(unseen.is_empty(), "in the table, but not declared where this test looks: {unseen:?}");
    assert!(excused.iter().all(|name| found.contains(name)), "an excuse for nothing in OTHER_CONSTS");
}

#[test]
fn every_struct_has_the_headers_size_and_alignment() {
    let table = Table::read();
    let ours = layouts::structs();
    for (name, row) in &table.structs {
        let Some(&(_, size, align)) = ours.iter().find(|ours| ours.0 == name) else {
            panic!("{name}: not compared");
        };
        assert_eq!(size, row.size, "size of {name}");
        let expected = if cfg!(target_arch = "x86") { row.align32 } else { row.align };
        assert_eq!(align, expected, "alignment of {name}");
    }
    assert_eq!(ours.len(), table.structs.len(), "a struct without a row, or twice");
}

#[test]
fn every_field_has_the_headers_offset_and_size() {
    let table = Table::read();
    let mut ours = layouts::fields();
    // Entries are flat here: their C names are a list of their own, tested below.
    ours.retain(|field| field.0 != "io_uring_sqe");
    let mut compared = BTreeSet::new();
    for (name, path, offset, size) in &ours {
        let key = (name.to_string(), path.to_string());
        let Some(row) = table.fields.get(&key) else { panic!("{name}.{path}: no row") };
        assert_eq!(*offset, row.offset, "offset of {name}.{path}");
        // A flexible array is one of no elements here.
        assert_eq!(*size, row.size.unwrap_or(0), "size of {name}.{path}");
        assert!(compared.insert(key), "{name}.{path} is listed twice");
    }
    let missed: Vec<_> =
        table.fields.keys().filter(|key| key.0 != "io_uring_sqe" && !compared.contains(*key)).collect();
    assert!(missed.is_empty(), "not compared: {missed:?}");
}

#[test]
fn every_alias_of_an_entry_is_where_the_header_has_it() {
    let table = Table::read();
    let rows: Vec<_> = table.order.iter().filter(|key| key.0 == "io_uring_sqe").collect();
    let ours: Vec<_> = SqeField::ALL.iter().map(|field| field.name()).collect();
    let theirs: Vec<_> = rows.iter().map(|key| key.1.as_str()).collect();
    assert_eq!(ours, theirs, "the same names in the same order");
    for (field, key) in SqeField::ALL.iter().zip(rows) {
        let row = &table.fields[key];
        // Of the flexible `cmd`, what is left of 64 bytes.
        let size = row.size.unwrap_or(64 - row.offset);
        assert_eq!((field.offset(), field.size()), (row.offset, size), "{}", field.name());
    }
}

#[test]
fn the_flat_fields_of_an_entry_are_places_of_the_header() {
    let table = Table::read();
    let ours: Vec<_> = layouts::fields().into_iter().filter(|field| field.0 == "io_uring_sqe").collect();
    let source = Source::read();
    let declared = source.fields.iter().filter(|(owner, _)| owner == "io_uring_sqe").count();
    assert_eq!(ours.len(), declared, "a field of the flat entry is not compared");
    for (name, path, offset, size) in ours {
        let row = &table.fields[&(name.to_owned(), path.to_owned())];
        assert_eq!((offset, Some(size)), (row.offset, row.size), "{path}");
    }
}

#[test]
fn every_public_struct_and_field_is_in_the_table() {
    let table = Table::read();
    let source = Source::read();
    let mut seen = BTreeSet::new();
    for (module, name) in &source.structs {
        if OTHER_MODULES.iter().any(|(other, _)| other == module) {
            continue;
        }
        seen.insert(name.as_str());
        let known = table.structs.contains_key(name)
            || PARTS.iter().any(|part| part.0 == name)
            || OTHER_STRUCTS.iter().any(|other| other.0 == name);
        assert!(known, "{module}: {name} is not in the header; if that is right, say why in OTHER_STRUCTS");
    }
    let unseen: Vec<_> = table.structs.keys().filter(|name| !seen.contains(name.as_str())).collect();
    assert!(unseen.is_empty(), "in the table, but not declared where this test looks: {unseen:?}");

    for (owner, field) in &source.fields {
        let (parent, prefix) = match PARTS.iter().find(|part| part.0 == owner) {
            Some(part) => (part.1, part.2),
            None if table.structs.contains_key(owner) => (owner.as_str(), ""),
            None => continue,
        };
        let known = table.fields.contains_key(&(parent.to_owned(), format!("{prefix}{field}")))
            || OTHER_FIELDS.iter().any(|other| other.0 == owner && other.1 == field);
        assert!(known, "{owner}.{field} is not in the header; if that is right, say why in OTHER_FIELDS");
    }
    for (owner, field, reason) in OTHER_FIELDS {
        let used = source.fields.iter().any(|(o, f)| o == owner && f == field);
        assert!(used, "an excuse for nothing: {owner}.{field}, {reason}");
    }
    for name in PARTS.iter().map(|part| part.0).chain(OTHER_STRUCTS.iter().map(|other| other.0)) {
        assert!(seen.contains(name), "an excuse for nothing: {name}");
    }
}
