//! Canonical JSON straight from what a value tells `serde`: members are written as they come and put in order when their object ends, so that there is no tree
//! of JSON in between.

use std::{cmp::Ordering, fmt};

use serde::{
    Serialize, Serializer,
    ser::{self, Error as _},
};

use super::{by_utf16, exact};

/// Where a member stands in the bytes: its name, in quotes, and the whole of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) from: usize,
    pub(super) colon: usize,
    pub(super) to: usize,
}

impl Place {
    /// The name as it is written, in quotes. Each has one spelling.
    pub(super) fn name<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes.get(self.from..self.colon).unwrap_or_default()
    }
}

/// A name without its quotes.
fn unquoted(name: &[u8]) -> &[u8] {
    name.get(1..name.len().saturating_sub(1)).unwrap_or_default()
}

/// The order of two members: that of the UTF-16 code units of their names (RFC 8785 §3.2.3).
pub(super) fn by_name(bytes: &[u8], one: &Place, other: &Place) -> Ordering {
    let (one, other) = (one.name(bytes), other.name(bytes));
    let is_plain = |name: &[u8]| name.iter().all(|byte| byte.is_ascii() && *byte != b'\\');
    if is_plain(one) && is_plain(other) {
        // A quote comes behind a space.
        return unquoted(one).cmp(unquoted(other));
    }
    let read = |name: &[u8]| serde_json::from_slice::<String>(name).unwrap_or_default();
    by_utf16(&read(one), &read(other))
}

/// Why a value is not written. Where its number stands is looked for only when somebody has to be told.
#[derive(Debug)]
pub(super) enum Unwritten {
    Number,
    Json(serde_json::Error),
}

type Written<T = ()> = Result<T, Unwritten>;

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unwritten::Number => f.write_str("a number that is no integer within ±(2^53 - 1)"),
            Unwritten::Json(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Unwritten {}

impl ser::Error for Unwritten {
    fn custom<T: fmt::Display>(what: T) -> Unwritten {
        Unwritten::Json(serde_json::Error::custom(what))
    }
}

impl From<serde_json::Error> for Unwritten {
    fn from(error: serde_json::Error) -> Unwritten {
        Unwritten::Json(error)
    }
}

/// Writes one value behind what is in the bytes.
pub(super) struct Writer<'b> {
    pub(super) bytes: &'b mut Vec<u8>,
    /// Of an object whose members are kept apart: where they stand, sorted, instead of braces and commas.
    pub(super) members: Option<&'b mut Vec<Place>>,
}

impl<'b> Writer<'b> {
    pub(super) const fn new(bytes: &'b mut Vec<u8>) -> Writer<'b> {
        Writer { bytes, members: None }
    }

    fn text(self, text: &[u8]) -> Written {
        self.bytes.extend_from_slice(text);
        Ok(())
    }

    fn integer(self, number: Option<i64>) -> Written {
        Ok(serde_json::to_writer(self.bytes, &exact(number).ok_or(Unwritten::Number)?)?)
    }

    fn list(self) -> List<'b> {
        self.bytes.push(b'[');
        List { bytes: self.bytes, is_first: true, end: b"]" }
    }

    fn object(self, members: Option<usize>) -> Object<'b> {
        if self.members.is_none() {
            self.bytes.push(b'{');
        }
        let start = self.bytes.len();
        Object {
            start,
            bytes: self.bytes,
            places: Vec::with_capacity(members.unwrap_or(24)),
            kept: self.members,
            end: b"}",
        }
    }

    /// `{"variant":`, before what the variant holds.
    fn variant(self, name: &str) -> Written<Writer<'b>> {
        self.bytes.push(b'{');
        serde_json::to_writer(&mut *self.bytes, name)?;
        self.bytes.push(b':');
        Ok(Writer::new(self.bytes))
    }
}

/// Integers, all as `i64` where they are one.
macro_rules! integers {
    ($($method:ident($type:ty),)*) => {
        $(fn $method(self, number: $type) -> Written {
            self.integer(i64::try_from(number).ok())
        })*
    };
}

impl<'b> Serializer for Writer<'b> {
    type Ok = ();
    type Error = Unwritten;
    type SerializeSeq = List<'b>;
    type SerializeTuple = List<'b>;
    type SerializeTupleStruct = List<'b>;
    type SerializeTupleVariant = List<'b>;
    type SerializeMap = Object<'b>;
    type SerializeStruct = Object<'b>;
    type SerializeStructVariant = Object<'b>;

    integers! {
        serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64), serialize_i128(i128),
        serialize_u8(u8), serialize_u16(u16), serialize_u32(u32), serialize_u64(u64), serialize_u128(u128),
    }

    fn serialize_f32(self, _: f32) -> Written {
        Err(Unwritten::Number)
    }

    fn serialize_f64(self, _: f64) -> Written {
        Err(Unwritten::Number)
    }

    fn serialize_bool(self, is: bool) -> Written {
        self.text(if is { b"true" } else { b"false" })
    }

    fn serialize_char(self, one: char) -> Written {
        Ok(serde_json::to_writer(self.bytes, &one)?)
    }

    fn serialize_str(self, text: &str) -> Written {
        // What `serde_json` writes of a text is what RFC 8785 §3.2.2.2 asks for.
        Ok(serde_json::to_writer(self.bytes, text)?)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Written {
        self.collect_seq(bytes)
    }

    fn serialize_none(self) -> Written {
        self.text(b"null")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Written {
        self.text(b"null")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Written {
        self.text(b"null")
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Written {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Written {
        let inner = self.variant(variant)?;
        value.serialize(Writer::new(&mut *inner.bytes))?;
        inner.text(b"}")
    }

    fn serialize_seq(self, _: Option<usize>) -> Written<List<'b>> {
        Ok(self.list())
    }

    fn serialize_tuple(self, _: usize) -> Written<List<'b>> {
        Ok(self.list())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Written<List<'b>> {
        Ok(self.list())
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, variant: &'static str, _: usize) -> Written<List<'b>> {
        Ok(List { end: b"]}", ..self.variant(variant)?.list() })
    }

    fn serialize_map(self, members: Option<usize>) -> Written<Object<'b>> {
        Ok(self.object(members))
    }

    fn serialize_struct(self, _: &'static str, members: usize) -> Written<Object<'b>> {
        Ok(self.object(Some(members)))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        members: usize,
    ) -> Written<Object<'b>> {
        Ok(Object { end: b"}}", ..self.variant(variant)?.object(Some(members)) })
    }
}

/// An array that is being written.
pub(super) struct List<'b> {
    bytes: &'b mut Vec<u8>,
    is_first: bool,
    end: &'static [u8],
}

impl List<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.bytes.extend((!self.is_first).then_some(b','));
        self.is_first = false;
        value.serialize(Writer::new(self.bytes))
    }

    fn close(self) -> Written {
        Writer::new(self.bytes).text(self.end)
    }
}

/// An object that is being written.
pub(super) struct Object<'b> {
    bytes: &'b mut Vec<u8>,
    start: usize,
    places: Vec<Place>,
    kept: Option<&'b mut Vec<Place>>,
    end: &'static [u8],
}

impl Object<'_> {
    fn name(&mut self, name: &(impl Serialize + ?Sized)) -> Written {
        self.bytes.extend((self.kept.is_none() && !self.places.is_empty()).then_some(b','));
        let from = self.bytes.len();
        name.serialize(Writer::new(self.bytes))?;
        let colon = self.bytes.len();
        if self.bytes.get(from) != Some(&b'"') {
            return Err(Unwritten::custom("the name of a member is no text"));
        }
        self.bytes.push(b':');
        self.places.push(Place { from, colon, to: colon });
        Ok(())
    }

    fn value(&mut self, value: &(impl Serialize + ?Sized)) -> Written {
        value.serialize(Writer::new(self.bytes))?;
        let to = self.bytes.len();
        self.places.iter_mut().next_back().into_iter().for_each(|place| place.to = to);
        Ok(())
    }

    fn close(mut self) -> Written {
        let is_in_order = self.is_in_order();
        if !is_in_order {
            self.places.sort_by(|one, other| by_name(self.bytes, one, other));
            if !self.is_in_order() {
                return Err(Unwritten::custom("two members have one name"));
            }
        }
        if let Some(kept) = self.kept {
            *kept = self.places;
            return Ok(());
        }
        if !is_in_order {
            let end = self.bytes.len();
            for (index, place) in self.places.iter().enumerate() {
                self.bytes.extend((index > 0).then_some(b','));
                self.bytes.extend_from_within(place.from..place.to);
            }
            self.bytes.drain(self.start..end);
        }
        Writer::new(self.bytes).text(self.end)
    }

    fn is_in_order(&self) -> bool {
        self.places.is_sorted_by(|one, other| by_name(self.bytes, one, other).is_lt())
    }
}

/// The traits of `serde` for arrays and objects, which differ in the names of their methods.
macro_rules! parts {
    ($($trait:ident for $type:ident { $($method:ident($($name:ident: $of:ty,)?) => $to:ident,)* })*) => {
        $(impl ser::$trait for $type<'_> {
            type Ok = ();
            type Error = Unwritten;

            $(fn $method<T: Serialize + ?Sized>(&mut self, $($name: $of,)? value: &T) -> Written {
                $(self.name($name)?;)?
                self.$to(value)
            })*

            fn end(self) -> Written {
                self.close()
            }
        })*
    };
}

parts! {
    SerializeSeq for List { serialize_element() => item, }
    SerializeTuple for List { serialize_element() => item, }
    SerializeTupleStruct for List { serialize_field() => item, }
    SerializeTupleVariant for List { serialize_field() => item, }
    SerializeMap for Object { serialize_key() => name, serialize_value() => value, }
    SerializeStruct for Object { serialize_field(name: &'static str,) => value, }
    SerializeStructVariant for Object { serialize_field(name: &'static str,) => value, }
}
