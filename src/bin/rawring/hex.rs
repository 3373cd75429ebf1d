//! Hexadecimal text to records of bytes.
//!
//! Written for what people paste: digits with or without blanks, `0x`, commas and colons between bytes, records on a
//! line of their own or broken over several. What is not hex is an error that says where; nothing is skipped.

use std::fmt;

/// Text that is not what it should be, with line and column from 1.
#[derive(Debug, PartialEq, Eq)]
pub struct BadHex {
    line: usize,
    column: usize,
    problem: String,
}

impl fmt::Display for BadHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.problem)
    }
}

/// Cuts text into records.
///
/// With `wide`, every record has twice `size` bytes. Without, a line of exactly twice `size` bytes is one record, and
/// all else is joined across lines and cut into records of `size` bytes.
pub fn records(text: &str, size: usize, wide: bool) -> Result<Vec<Vec<u8>>, BadHex> {
    let unit = if wide { 2 * size } else { size };
    let mut records = Vec::new();
    let mut open = Vec::new();
    let mut end = (1, 1);
    for (index, line) in text.lines().enumerate() {
        let bytes = line_bytes(line).map_err(|(column, problem)| BadHex { line: index + 1, column, problem })?;
        if bytes.is_empty() {
            continue;
        }
        end = (index + 1, line.chars().count() + 1);
        if open.is_empty() && bytes.len() == 2 * size {
            records.push(bytes);
            continue;
        }
        open.extend(bytes);
        let whole = open.len() - open.len() % unit;
        records.extend(open.drain(..whole).as_slice().chunks(unit).map(<[u8]>::to_vec));
    }
    if open.is_empty() {
        return Ok(records);
    }
    let problem = format!("the input ends after {} of {unit} bytes", open.len());
    Err(BadHex { line: end.0, column: end.1, problem })
}

/// The bytes of a line, or the column of what is wrong and what that is.
fn line_bytes(line: &str) -> Result<Vec<u8>, (usize, String)> {
    let mut bytes = Vec::new();
    let mut chars = line.chars().enumerate().map(|(index, c)| (index + 1, c)).peekable();
    // Whether the next digits follow a separator, so that they may begin with 0x.
    let mut fresh = true;
    while let Some((column, c)) = chars.next() {
        if c.is_whitespace() || c == ',' {
            fresh = true;
            continue;
        }
        if c == ':' {
            if bytes.is_empty() || !chars.peek().is_some_and(|(_, next)| next.is_ascii_hexdigit()) {
                let problem = "a colon has to stand between two bytes; for a dump with offsets, leave these out \
                               (`xxd -p` prints none)";
                return Err((column, problem.to_owned()));
            }
            continue;
        }
        let next = chars.peek().map(|&(_, next)| next);
        if fresh && c == '0' && matches!(next, Some('x' | 'X')) {
            let (after, _) = chars.next().unwrap_or((column, c));
            fresh = false;
            if !chars.peek().is_some_and(|(_, next)| next.is_ascii_hexdigit()) {
                return Err((after, "no digits after 0x".to_owned()));
            }
            continue;
        }
        fresh = false;
        let high = digit(column, c)?;
        let Some((column, c)) = chars.next_if(|(_, c)| !c.is_whitespace() && !matches!(c, ',' | ':')) else {
            return Err((column, format!("{c:?} is half of a byte: write two digits for each")));
        };
        bytes.push(high << 4 | digit(column, c)?);
    }
    Ok(bytes)
}

fn digit(column: usize, c: char) -> Result<u8, (usize, String)> {
    c.to_digit(16).map(|digit| digit as u8).ok_or_else(|| (column, format!("{c:?} is not a hexadecimal digit")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        line_bytes(text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    #[test]
    fn the_ways_to_write_bytes() {
        for text in ["16000aFf", "16 00 0a ff", "0x16, 0x00, 0x0a, 0xff", "0x16000aff", "16:00:0a:ff", " 1600\t0aFF "] {
            assert_eq!(bytes(text), [0x16, 0x00, 0x0a, 0xff], "{text}");
        }
        assert!(bytes("").is_empty());
    }

    #[test]
    fn what_is_not_hex_is_named_with_its_column() {
        let column = |text: &str| line_bytes(text).expect_err(text).0;
        assert_eq!(column("16 0g"), 5);
        assert_eq!(column("g0"), 1);
        assert_eq!(column("160"), 3);
        assert_eq!(column("16 0 00"), 4);
        assert_eq!(column("0x"), 2);
        assert_eq!(column("00000000: 1600"), 9, "an offset must not pass for bytes");
        assert_eq!(column(":16"), 1);
        assert_eq!(column("16é"), 3);
    }

    #[test]
    fn lines_are_records_or_are_joined() {
        let cut = |text: &str, wide| {
            let records = records(text, 2, wide).expect(text);
            records.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(cut("0102\n03040506\n0708", false), [2, 4, 2]);
        assert_eq!(cut("01\n\n02\n03\n04", false), [2, 2]);
        assert_eq!(cut("010203040506", false), [2, 2, 2]);
        assert_eq!(cut("0102\n0304\n05060708", true), [4, 4]);
        assert!(cut("", false).is_empty());
        let error = records("0102\n03", 2, false).expect_err("half of a record");
        assert_eq!((error.line, error.column), (2, 3));
        assert!(error.problem.contains("1 of 2 bytes"), "{error}");
    }
}
