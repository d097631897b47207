//! Pickles of the protocols 2 to 5, of which nothing is run: calls become objects that describe them.
//!
//! candle's own reader knows protocol 2 and trusts lengths, copies and depths. Here lengths are checked against the bytes that
//! are there; objects are counted, since a few bytes may ask for a copy of everything before them; and nesting is bounded,
//! since objects are copied and dropped recursively. Bytes, which weights are not made of, become nothing.

use candle_core::pickle::Object;
use candle_core::{Result, bail};
use std::collections::HashMap;

/// Objects of a file, copies among them; a tensor of a state dict is about a hundred. A long text counts as several.
const MOST: usize = 2_000_000;

/// Bytes of text that count as an object.
const TEXT: usize = 64;

/// Objects within objects. Layers of a whole module are nested four by four.
const DEEPEST: usize = 256;

/// Reads one pickle and leaves what is behind it.
pub(super) fn read(rest: &mut &[u8]) -> Result<Object> {
    let mut machine = Machine { rest, stack: vec![], memo: HashMap::new(), left: MOST };
    while machine.step()? {}
    let top = machine.pop()?.object;
    *rest = machine.rest;
    Ok(top)
}

/// An object with what it costs.
#[derive(Clone)]
struct Item {
    object: Object,
    /// Objects that it consists of.
    size: usize,
    /// Objects within objects.
    depth: usize,
}

struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Item>,
    memo: HashMap<u32, Item>,
    /// Objects that may still be made.
    left: usize,
}

impl<'a> Machine<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let split = usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count));
        let Some((taken, rest)) = split else { bail!("the pickle is cut off") };
        self.rest = rest;
        Ok(taken)
    }

    /// A number of so many bytes, at most eight, the lowest first.
    fn number(&mut self, bytes: u64) -> Result<u64> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    fn line(&mut self) -> Result<String> {
        let Some(end) = self.rest.iter().position(|b| *b == b'\n') else { bail!("the pickle is cut off") };
        let line = self.take(end as u64)?;
        self.take(1)?;
        Ok(String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned())
    }

    fn spend(&mut self, objects: usize) -> Result<()> {
        match self.left.checked_sub(objects) {
            Some(left) => self.left = left,
            None => bail!("the pickle makes more than {MOST} objects"),
        }
        Ok(())
    }

    /// A new object of these parts.
    fn push(&mut self, object: Object, size: usize, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            bail!("objects in the pickle are nested more than {DEEPEST} deep")
        }
        self.stack.push(Item { object, size, depth });
        Ok(())
    }

    /// A new object that has no parts.
    fn leaf(&mut self, object: Object) -> Result<()> {
        let size = match &object {
            Object::Unicode(text) => 1 + text.len() / TEXT,
            Object::Class { module_name, class_name } => 1 + (module_name.len() + class_name.len()) / TEXT,
            _ => 1,
        };
        self.spend(size)?;
        self.push(object, size, 1)
    }

    fn whole(&mut self, parts: Vec<Item>, object: impl FnOnce(Vec<Object>) -> Object) -> Result<()> {
        self.spend(1)?;
        let size = 1 + parts.iter().map(|part| part.size).sum::<usize>();
        let depth = 1 + parts.iter().map(|part| part.depth).max().unwrap_or(0);
        self.push(object(parts.into_iter().map(|part| part.object).collect()), size, depth)
    }

    fn pop(&mut self) -> Result<Item> {
        match self.stack.pop() {
            Some(item) => Ok(item),
            None => bail!("the pickle takes an object that it did not make"),
        }
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Item>> {
        match self.stack.len().checked_sub(count) {
            Some(at) => Ok(self.stack.split_off(at)),
            None => bail!("the pickle takes an object that it did not make"),
        }
    }

    /// What was made since the last mark.
    fn pop_to_mark(&mut self) -> Result<Vec<Item>> {
        let Some(mark) = self.stack.iter().rposition(|item| matches!(item.object, Object::Mark)) else {
            bail!("the pickle lacks a mark")
        };
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn text(&mut self, length_bytes: u64) -> Result<()> {
        let length = self.number(length_bytes)?;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.leaf(Object::Unicode(text))
    }

    fn bytes(&mut self, length_bytes: u64) -> Result<()> {
        let length = self.number(length_bytes)?;
        self.take(length)?;
        self.leaf(Object::None)
    }

    /// An integer of any length; those of more than eight bytes are no sizes of anything.
    fn long(&mut self, length_bytes: u64) -> Result<()> {
        let length = self.number(length_bytes)?;
        let bytes = self.take(length)?;
        if bytes.len() > 8 {
            return self.leaf(Object::None);
        }
        let negative = bytes.last().is_some_and(|b| *b >= 0x80);
        let mut value = [if negative { 0xff } else { 0 }; 8];
        value[..bytes.len()].copy_from_slice(bytes);
        self.leaf(Object::Long(i64::from_le_bytes(value)))
    }

    fn put(&mut self, at: u32) -> Result<()> {
        let Some(item) = self.stack.last().cloned() else { bail!("the pickle remembers nothing") };
        self.spend(item.size)?;
        self.memo.insert(at, item);
        Ok(())
    }

    fn get(&mut self, at: u32) -> Result<()> {
        let Some(item) = self.memo.get(&at) else { bail!("the pickle lacks its object {at}") };
        // Before the copy is made.
        let size = item.size;
        self.spend(size)?;
        let Some(item) = self.memo.get(&at) else { return Ok(()) };
        self.stack.push(item.clone());
        Ok(())
    }

    /// Adds to the list on top, or to the dictionary, keys and values by turns.
    fn add(&mut self, items: Vec<Item>) -> Result<()> {
        let Some(last) = self.stack.last_mut() else { bail!("the pickle adds to nothing") };
        last.size += items.iter().map(|item| item.size).sum::<usize>();
        last.depth = last.depth.max(1 + items.iter().map(|item| item.depth).max().unwrap_or(0));
        if last.depth > DEEPEST {
            bail!("objects in the pickle are nested more than {DEEPEST} deep")
        }
        let mut items = items.into_iter().map(|item| item.object);
        match &mut last.object {
            Object::List(list) => list.extend(items),
            Object::Dict(entries) => {
                while let Some(key) = items.next() {
                    let Some(value) = items.next() else { bail!("the pickle has a key without a value") };
                    entries.push((key, value));
                }
            }
            // A subclass of a list or of a dictionary: what is in it is none of the weights.
            _ => {}
        }
        Ok(())
    }

    /// A call of what is below with what is on top. Dictionaries are made by calls as well.
    fn call(&mut self) -> Result<()> {
        let parts = self.pop_many(2)?;
        let is_dict = matches!(&parts[0].object, Object::Class { module_name, class_name }
            if module_name == "collections" && matches!(class_name.as_str(), "OrderedDict" | "defaultdict"));
        if is_dict {
            return self.leaf(Object::Dict(vec![]));
        }
        self.pair(parts, |callable, args| Object::Reduce { callable, args })
    }

    fn pair(
        &mut self,
        parts: Vec<Item>,
        object: impl FnOnce(Box<Object>, Box<Object>) -> Object,
    ) -> Result<()> {
        self.whole(parts, |parts| {
            let mut parts = parts.into_iter().map(Box::new);
            let mut next = || parts.next().unwrap_or_else(|| Box::new(Object::None));
            object(next(), next())
        })
    }

    /// Gives an object its state; that of a dictionary are entries more, such as the versions of layers.
    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let object = self.pop()?;
        if !matches!(object.object, Object::Dict(_)) {
            return self.pair(vec![object, state], |callable, args| Object::Build { callable, args });
        }
        self.stack.push(object);
        let Object::Dict(entries) = state.object else { return Ok(()) };
        let item = |object| Item { object, size: 0, depth: state.depth };
        self.add(entries.into_iter().flat_map(|(key, value)| [item(key), item(value)]).collect())
    }

    /// One word; whether others follow.
    fn step(&mut self) -> Result<bool> {
        let word = self.number(1)? as u8;
        match word {
            b'.' => return Ok(false),
            // The protocol, and the size of a frame, which nobody needs who has the whole.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'U' | 0x8c => self.text(1)?,
            b'T' | b'X' => self.text(4)?,
            0x8d => self.text(8)?,
            b'C' => self.bytes(1)?,
            b'B' => self.bytes(4)?,
            0x8e | 0x96 => self.bytes(8)?,
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'K' | b'M' => {
                let value = self.number(if word == b'K' { 1 } else { 2 })?;
                self.leaf(Object::Int(value as i32))?;
            }
            b'J' => {
                let value = self.number(4)? as u32;
                self.leaf(Object::Int(value.cast_signed()))?;
            }
            // The one number with its highest byte first.
            b'G' => {
                let bits = self.number(8)?.swap_bytes();
                self.leaf(Object::Float(f64::from_bits(bits)))?;
            }
            b'N' => self.leaf(Object::None)?,
            0x88 | 0x89 => self.leaf(Object::Bool(word == 0x88))?,
            b'(' => self.leaf(Object::Mark)?,
            b')' => self.leaf(Object::Tuple(vec![]))?,
            // Sets are lists.
            b']' | 0x8f => self.leaf(Object::List(vec![]))?,
            b'}' => self.leaf(Object::Dict(vec![]))?,
            0x94 => self.put(self.memo.len() as u32)?,
            b'q' | b'r' | b'h' | b'j' => {
                let at = self.number(if matches!(word, b'q' | b'h') { 1 } else { 4 })? as u32;
                if matches!(word, b'q' | b'r') { self.put(at)? } else { self.get(at)? }
            }
            _ => self.compose(word)?,
        }
        Ok(true)
    }

    /// A word that makes an object of others.
    fn compose(&mut self, word: u8) -> Result<()> {
        match word {
            0x85..=0x87 => {
                let parts = self.pop_many(usize::from(word - 0x84))?;
                self.whole(parts, Object::Tuple)
            }
            // Frozen sets are tuples.
            b't' | 0x91 => {
                let parts = self.pop_to_mark()?;
                self.whole(parts, Object::Tuple)
            }
            b'l' => {
                let parts = self.pop_to_mark()?;
                self.whole(parts, Object::List)
            }
            b'd' => {
                let parts = self.pop_to_mark()?;
                self.leaf(Object::Dict(vec![]))?;
                self.add(parts)
            }
            b'a' | b's' => {
                let parts = self.pop_many(if word == b'a' { 1 } else { 2 })?;
                self.add(parts)
            }
            b'e' | b'u' | 0x90 => {
                let parts = self.pop_to_mark()?;
                self.add(parts)
            }
            b'c' => {
                let (module_name, class_name) = (self.line()?, self.line()?);
                self.leaf(Object::Class { module_name, class_name })
            }
            0x93 => {
                let parts: Vec<Object> = self.pop_many(2)?.into_iter().map(|part| part.object).collect();
                let Ok([Object::Unicode(module_name), Object::Unicode(class_name)]) =
                    <[Object; 2]>::try_from(parts)
                else {
                    bail!("a class without a name in the pickle")
                };
                self.leaf(Object::Class { module_name, class_name })
            }
            b'R' | 0x81 => self.call(),
            // With arguments by name, which describe no tensor.
            0x92 => {
                self.pop()?;
                self.call()
            }
            b'b' => self.build(),
            b'Q' => {
                let parts = vec![self.pop()?];
                self.pair(parts, |id, _| Object::PersistentLoad(id))
            }
            b'0' => self.pop().map(drop),
            b'1' => self.pop_to_mark().map(drop),
            b'2' => {
                let Some(size) = self.stack.last().map(|item| item.size) else { bail!("nothing to copy") };
                self.spend(size)?;
                self.stack.extend_from_within(self.stack.len() - 1..);
                Ok(())
            }
            _ => bail!("the word {word:#04x} in the pickle is not known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(pickle: &[u8]) -> Object {
        let mut rest = pickle;
        let object = read(&mut rest).unwrap();
        assert!(rest.is_empty());
        object
    }

    fn text(text: &str) -> Object {
        Object::Unicode(text.into())
    }

    /// `pickle.dumps({"a": (1, 2.5), "b": ["a", "a"], "c": {7}, "d": b"xyz"}, protocol=4)` of CPython 3.11.
    #[test]
    fn a_pickle_of_protocol_4() {
        let pickle = b"\x80\x04\x957\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94K\x01G@\x04\x00\x00\x00\x00\x00\x00\x86\x94\x8c\x01b\x94]\x94(h\x01h\x01e\x8c\x01c\x94\x8f\x94(K\x07\x90\x8c\x01d\x94C\x03xyz\x94u.";
        let Object::Dict(mut entries) = object(pickle) else { panic!("no dictionary") };
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
            object(pickle),
            Object::List(vec![class("OrderedDict"), class("deque"), text("collections")])
        );
    }

    /// `pickle.dumps(..., protocol=2)` of negative and long integers, of a dictionary by a call, and of one with attributes.
    #[test]
    fn words_of_protocol_2() {
        let numbers = b"\x80\x02(J\xff\xff\xff\xff\x8a\x01\xffM\x01\x02\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01\x8a\x00t.";
        let expected = [Object::Int(-1), Object::Long(-1), Object::Int(513), Object::None, Object::Long(0)];
        assert_eq!(object(numbers), Object::Tuple(expected.into()));
        let dictionary = b"\x80\x02ccollections\nOrderedDict\n)Rq\x00(U\x01aK\x01U\x01bK\x02u}U\x01cK\x03sb.";
        let entries = [("a", 1), ("b", 2), ("c", 3)].map(|(key, value)| (text(key), Object::Int(value)));
        assert_eq!(object(dictionary), Object::Dict(entries.into()));
        // What was popped, copied and made since a mark.
        assert_eq!(object(b"(K\x07(NN1K\x082tK\x090."), Object::Tuple([7, 8, 8].map(Object::Int).into()));
    }

    fn error(mut pickle: &[u8]) -> String {
        read(&mut pickle).unwrap_err().to_string()
    }

    #[test]
    fn what_is_cut_off_or_unknown_is_an_error() {
        for cut in [
            &b"\x80\x04\x95\x00"[..],
            b"\x80\x04\x8c\x05abc",
            b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
            // Texts of 4 GB.
            b"\x80\x02X\xff\xff\xff\xffabc",
            b"\x80\x02T\xff\xff\xff\xffabc",
            b"\x80\x02\x8b\xff\xff\xff\xffabc",
            b"\x80\x02ctorch",
            b"",
        ] {
            assert!(error(cut).contains("cut off"), "{cut:?}");
        }
        assert!(error(b"\x80\x04)\x93.").contains("did not make"));
        assert!(error(b"\x80\x04))\x93.").contains("without a name"));
        assert!(error(b"\x80\x04\x98.").contains("0x98"));
        for (pickle, cause) in [
            (&b"."[..], "did not make"),
            (b"t.", "lacks a mark"),
            (b"q\x00.", "remembers nothing"),
            (b"h\x00.", "lacks its object 0"),
            (b"}(Nu.", "without a value"),
            (b"(Nu.", "adds to nothing"),
            (b"r\xff\xff\xff\xff.", "remembers nothing"),
        ] {
            assert!(error(pickle).contains(cause), "{pickle:?}: {}", error(pickle));
        }
        assert_eq!(object(b"Nr\xff\xff\xff\xff\x940j\xff\xff\xff\xff."), Object::None);
    }

    #[test]
    fn a_few_bytes_do_not_become_millions_of_objects() {
        // Each tuple is twice the one before: 2^60 objects.
        let doubled = [&b"N"[..], &b"q\x00h\x00\x86".repeat(60), b"."].concat();
        assert!(error(&doubled).contains("more than 2000000 objects"));
        // A text that is copied again and again.
        let text =
            [&b"X\x00\x00\x01\x00"[..], &[b'a'; 1 << 16], b"q\x00", &b"h\x00".repeat(10_000), b"."].concat();
        assert!(error(&text).contains("more than 2000000 objects"));
        let listed = [&b"]"[..], &b"2".repeat(60), &b"a".repeat(60), b"."].concat();
        assert!(read(&mut &listed[..]).is_ok());
    }

    #[test]
    fn nesting_is_bounded() {
        for (word, before) in
            [(&b"\x85"[..], ""), (b"Q", ""), (b"s", "}N"), (b"R", "N"), (b"b", "N"), (b"a", "]")]
        {
            let nested = |times: usize| {
                let object = match before {
                    "" => [&b"N"[..], &word.repeat(times)].concat(),
                    before => [before.as_bytes().repeat(times), b"N".to_vec(), word.repeat(times)].concat(),
                };
                [&object[..], b"."].concat()
            };
            assert!(read(&mut &nested(200)[..]).is_ok(), "{word:?}");
            assert!(error(&nested(100_000)).contains("nested more than 256 deep"), "{word:?}");
        }
    }
}
