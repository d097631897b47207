//! Pickles of the protocols 4 and 5 in the words of protocol 2, which candle's reader knows.
//!
//! The later protocols say the same in other words: texts and sets with other lengths, classes by two texts on the stack
//! instead of two lines, places in the memo by their order. Bytes, which weights are not made of, become nothing.

use candle_core::{Result, bail};
use std::collections::HashMap;

/// What protocol 2 calls it.
const PROTO_2: [u8; 2] = [0x80, 2];

/// The protocol of a pickle; 0 where it does not say.
pub(super) fn protocol(pickle: &[u8]) -> u8 {
    match pickle {
        [0x80, version, ..] => *version,
        _ => 0,
    }
}

/// A pickle of protocol 4 or 5 in those of protocol 2.
pub(super) fn to_protocol_2(pickle: &[u8]) -> Result<Vec<u8>> {
    let mut rewriter =
        Rewriter { rest: pickle, out: vec![], pending: vec![], texts: HashMap::new(), memo: 0 };
    while rewriter.step()? {}
    Ok(rewriter.out)
}

struct Rewriter<'a> {
    rest: &'a [u8],
    out: Vec<u8>,
    /// Texts on top of the stack that are not written yet: they may turn out to be the name of a class.
    pending: Vec<String>,
    /// Texts in the memo; they are written out wherever they are asked for.
    texts: HashMap<u32, String>,
    /// Entries of the memo.
    memo: u32,
}

impl<'a> Rewriter<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let split = usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count));
        let Some((taken, rest)) = split else { bail!("the pickle is cut off") };
        self.rest = rest;
        Ok(taken)
    }

    /// A number of so many bytes, the lowest first.
    fn number(&mut self, bytes: u64) -> Result<u64> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    fn text(&mut self, length_bytes: u64) -> Result<()> {
        let length = self.number(length_bytes)?;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.pending.push(text);
        Ok(())
    }

    fn bytes(&mut self, length_bytes: u64) -> Result<()> {
        let length = self.number(length_bytes)?;
        self.take(length)?;
        self.write(b"N");
        Ok(())
    }

    /// Writes the texts that are pending, and then `bytes`.
    fn write(&mut self, bytes: &[u8]) {
        for text in std::mem::take(&mut self.pending) {
            self.out.push(b'X');
            self.out.extend((text.len() as u32).to_le_bytes());
            self.out.extend(text.as_bytes());
        }
        self.out.extend(bytes);
    }

    /// The top of the stack goes to a place of the memo.
    fn put(&mut self, at: u32) {
        self.memo = self.memo.max(at + 1);
        match self.pending.last() {
            Some(text) => {
                self.texts.insert(at, text.clone());
            }
            None => {
                self.texts.remove(&at);
                self.write(b"r");
                self.out.extend(at.to_le_bytes());
            }
        }
    }

    fn get(&mut self, at: u32) {
        match self.texts.get(&at) {
            Some(text) => self.pending.push(text.clone()),
            None => {
                self.write(b"j");
                self.out.extend(at.to_le_bytes());
            }
        }
    }

    /// One word; whether others follow.
    fn step(&mut self) -> Result<bool> {
        let word = self.number(1)? as u8;
        match word {
            0x80 => {
                self.take(1)?;
                self.write(&PROTO_2);
            }
            // The size of a frame, which nobody needs who has the whole.
            0x95 => drop(self.take(8)?),
            0x8c => self.text(1)?,
            b'X' => self.text(4)?,
            0x8d => self.text(8)?,
            b'C' => self.bytes(1)?,
            b'B' => self.bytes(4)?,
            0x8e | 0x96 => self.bytes(8)?,
            0x94 => self.put(self.memo),
            b'q' | b'r' | b'h' | b'j' => {
                let at = self.number(if matches!(word, b'q' | b'h') { 1 } else { 4 })? as u32;
                if matches!(word, b'q' | b'r') { self.put(at) } else { self.get(at) }
            }
            0x93 => {
                let (Some(class), Some(module)) = (self.pending.pop(), self.pending.pop()) else {
                    bail!("a class without a name in the pickle")
                };
                self.write(format!("c{module}\n{class}\n").as_bytes());
            }
            // Sets are lists, and frozen ones tuples.
            0x8f => self.write(b"]"),
            0x90 => self.write(b"e"),
            0x91 => self.write(b"t"),
            _ => self.same(word)?,
        }
        Ok(word != b'.')
    }

    /// A word that both protocols have.
    fn same(&mut self, word: u8) -> Result<()> {
        let argument = match length(word) {
            Some(Length::Fixed(bytes)) => self.take(bytes)?.to_vec(),
            Some(Length::Counted) => {
                let count = self.number(1)?;
                [&[count as u8], self.take(count)?].concat()
            }
            Some(Length::Lines) => {
                let lines =
                    self.rest.split_inclusive(|b| *b == b'\n').take(2).map(<[u8]>::len).sum::<usize>();
                self.take(lines as u64)?.to_vec()
            }
            None => bail!("the word {word:#04x} in the pickle is not known"),
        };
        self.write(&[word]);
        self.out.extend(argument);
        Ok(())
    }
}

enum Length {
    Fixed(u64),
    /// By the byte before it.
    Counted,
    /// Two lines.
    Lines,
}

/// How long the argument of a word is that both protocols have.
fn length(word: u8) -> Option<Length> {
    Some(match word {
        b'K' => Length::Fixed(1),
        b'M' => Length::Fixed(2),
        b'J' => Length::Fixed(4),
        b'G' => Length::Fixed(8),
        0x8a => Length::Counted,
        b'c' => Length::Lines,
        b'(' | b')' | b']' | b'}' | b'N' | b'R' | b't' | b'Q' | b's' | b'u' | b'd' | b'b' | b'a' | b'e'
        | b'.' => Length::Fixed(0),
        0x81 | 0x85..=0x89 => Length::Fixed(0),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::pickle::{Object, Stack};

    fn read(pickle: &[u8]) -> Object {
        let mut stack = Stack::empty();
        stack.read_loop(&mut &to_protocol_2(pickle).unwrap()[..]).unwrap();
        stack.finalize().unwrap()
    }

    fn text(text: &str) -> Object {
        Object::Unicode(text.into())
    }

    /// `pickle.dumps({"a": (1, 2.5), "b": ["a", "a"], "c": {7}, "d": b"xyz"}, protocol=4)` of CPython 3.11.
    #[test]
    fn a_pickle_of_protocol_4() {
        let pickle = b"\x80\x04\x957\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94K\x01G@\x04\x00\x00\x00\x00\x00\x00\x86\x94\x8c\x01b\x94]\x94(h\x01h\x01e\x8c\x01c\x94\x8f\x94(K\x07\x90\x8c\x01d\x94C\x03xyz\x94u.";
        let Object::Dict(mut entries) = read(pickle) else { panic!("no dictionary") };
        entries.sort_by_key(|(key, _)| key.clone().unicode().unwrap());
        let expected = [
            (text("a"), Object::Tuple(vec![Object::Int(1), Object::Float(2.5)])),
            (text("b"), Object::List(vec![text("a"), text("a")])),
            (text("c"), Object::List(vec![Object::Int(7)])),
            (text("d"), Object::None),
        ];
        assert_eq!(entries, expected);
    }

    /// `pickle.dumps([collections.OrderedDict, collections.deque, "collections"], protocol=5)`: the second class's module comes
    /// out of the memo.
    #[test]
    fn classes_are_named_by_two_texts() {
        let pickle = b"\x80\x05\x95<\x00\x00\x00\x00\x00\x00\x00]\x94(\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94h\x01\x8c\x05deque\x94\x93\x94h\x01e.";
        let class = |name: &str| Object::Class { module_name: "collections".into(), class_name: name.into() };
        assert_eq!(
            read(pickle),
            Object::List(vec![class("OrderedDict"), class("deque"), text("collections")])
        );
    }

    #[test]
    fn what_is_cut_off_or_unknown_is_an_error() {
        let error = |pickle: &[u8]| to_protocol_2(pickle).unwrap_err().to_string();
        assert!(error(b"\x80\x04\x95\x00").contains("cut off"));
        assert!(error(b"\x80\x04\x8c\x05abc").contains("cut off"));
        assert!(error(b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff").contains("cut off"));
        assert!(error(b"\x80\x04\x93.").contains("without a name"));
        assert!(error(b"\x80\x04\x98.").contains("0x98"));
    }
}
