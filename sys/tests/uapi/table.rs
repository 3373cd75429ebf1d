//! The tables, read. A line that it cannot read is an error, not a comment.

use std::collections::BTreeMap;

/// The io_uring headers.
pub const IO_URING: &str = include_str!("../linux-7.3.tsv");

/// What comes from other headers.
pub const NEIGHBOURS: &str = include_str!("../neighbours-7.3.tsv");

/// A struct by C.
pub struct StructRow {
    pub size: usize,
    pub align: usize,
    /// On 32-bit x86.
    pub align32: usize,
}

/// A field by C.
pub struct FieldRow {
    pub offset: usize,
    /// `None` for a flexible array.
    pub size: Option<usize>,
}

/// A struct's name and the path of a field in it.
pub type FieldKey = (String, String);

pub struct Table {
    /// Values, sign-extended to 64 bits.
    pub consts: BTreeMap<String, u64>,
    pub structs: BTreeMap<String, StructRow>,
    pub fields: BTreeMap<FieldKey, FieldRow>,
    /// The fields in header order.
    pub order: Vec<FieldKey>,
}

impl Table {
    /// Both tables.
    pub fn read() -> Self {
        Self::of(&[IO_URING, NEIGHBOURS])
    }

    pub fn of(tables: &[&str]) -> Self {
        let mut table =
            Self { consts: BTreeMap::new(), structs: BTreeMap::new(), fields: BTreeMap::new(), order: Vec::new() };
        for line in tables.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with('#')) {
            let columns: Vec<&str> = line.split('\t').collect();
            let twice = match columns[..] {
                ["const", _header, name, value, _where] => {
                    let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
                    table.consts.insert(name.to_owned(), value).is_some()
                }
                ["struct", _header, name, size, align, align32] => {
                    let row = StructRow {
                        size: number(size, "size="),
                        align: number(align, "align="),
                        align32: number(align32, "align32="),
                    };
                    table.structs.insert(name.to_owned(), row).is_some()
                }
                ["field", owner, path, offset, size] => {
                    let size = (size != "flex").then(|| number(size, "size="));
                    let row = FieldRow { offset: number(offset, "offset="), size };
                    let key = (owner.to_owned(), path.to_owned());
                    table.order.push(key.clone());
                    table.fields.insert(key, row).is_some()
                }
                _ => panic!("what is this line? {line}"),
            };
            assert!(!twice, "twice in the table: {line}");
        }
        table
    }
}

fn number(text: &str, key: &str) -> usize {
    text.strip_prefix(key).and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{key}<number>, not {text}"))
}
