//! An object that is put together: what a draft's body is until it is written.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    CanonicalError, told,
    write::{Place, Writer, by_name},
};

/// Members of an object, each in canonical form (RFC 8785), in one piece of bytes; in any order until the object is written.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Members {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

impl Members {
    /// The members of what serialises to an object.
    ///
    /// # Errors
    /// [`CanonicalError`] on a number without canonical form, and when `value` is no object.
    pub fn of<T: Serialize>(value: &T) -> Result<Members, CanonicalError> {
        let mut members = Members { bytes: Vec::with_capacity(super::USUAL_BYTES), places: Vec::new() };
        let Members { bytes, places } = &mut members;
        value.serialize(Writer { bytes, members: Some(places) }).map_err(|error| told(error, value))?;
        let is_object = places.iter().map(|place| place.to - place.from).sum::<usize>() == bytes.len();
        let not_one = || CanonicalError::Json(serde::ser::Error::custom("not an object"));
        is_object.then_some(members).ok_or_else(not_one)
    }

    /// Sets a member, in place of one that has the name.
    ///
    /// # Errors
    /// [`CanonicalError`] on a number without canonical form.
    pub fn set<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), CanonicalError> {
        self.put(name, |bytes| value.serialize(Writer::new(bytes)).map_err(|error| told(error, value)))
    }

    /// Whether there is a member of this name.
    pub fn has(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    /// The value of a member.
    pub fn get(&self, name: &str) -> Option<Value> {
        let place = self.place(name)?;
        serde_json::from_slice(self.bytes.get(place.colon + 1..place.to)?).ok()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The object, as a tree.
    pub fn to_map(&self) -> Map<String, Value> {
        let mut bytes = Vec::with_capacity(self.bytes.len() + self.places.len() + 2);
        self.write(&mut bytes);
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Sets a member to the object of these members.
    #[cfg(feature = "store")]
    pub(crate) fn set_object(&mut self, name: &str, members: &Members) -> Result<(), CanonicalError> {
        self.put(name, |bytes| {
            members.write(bytes);
            Ok(())
        })
    }

    /// Puts the object's canonical bytes behind what is in `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut sorted = self.places.clone();
        sorted.sort_unstable_by(|one, other| by_name(&self.bytes, one, other));
        out.push(b'{');
        for (index, place) in sorted.iter().enumerate() {
            out.extend((index > 0).then_some(b','));
            out.extend_from_slice(self.bytes.get(place.from..place.to).unwrap_or_default());
        }
        out.push(b'}');
    }

    fn put(
        &mut self,
        name: &str,
        value: impl FnOnce(&mut Vec<u8>) -> Result<(), CanonicalError>,
    ) -> Result<(), CanonicalError> {
        let from = self.bytes.len();
        name.serialize(Writer::new(&mut self.bytes)).map_err(|error| told(error, name))?;
        let colon = self.bytes.len();
        self.bytes.push(b':');
        if let Err(error) = value(&mut self.bytes) {
            self.bytes.truncate(from);
            return Err(error);
        }
        let place = Place { from, colon, to: self.bytes.len() };
        let bytes = &self.bytes;
        self.places.retain(|other| other.name(bytes) != place.name(bytes));
        self.places.push(place);
        Ok(())
    }

    fn place(&self, name: &str) -> Option<&Place> {
        let name = serde_json::to_vec(name).ok()?;
        self.places.iter().find(|place| place.name(&self.bytes) == name)
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_map().fmt(f)
    }
}
