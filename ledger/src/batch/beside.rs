//! What is stored beside an entry, as one piece of bytes.

use super::{Reader, put, put_count};
use crate::record::{Attachment, StatePut};

/// Encrypted disclosures on their way into the vault, in the bytes in which a batch holds them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attachments {
    count: usize,
    bytes: Vec<u8>,
}

impl Attachments {
    /// Adds what `seal` puts behind what is there; after an error nothing was added.
    ///
    /// # Errors
    /// Those of `seal`.
    pub fn add<E>(
        &mut self,
        subject: &str,
        name: &str,
        seal: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.bytes.len();
        put(&mut self.bytes, subject.as_bytes());
        put(&mut self.bytes, name.as_bytes());
        put_count(&mut self.bytes, 0);
        let from = self.bytes.len();
        if let Err(error) = seal(&mut self.bytes) {
            self.bytes.truncate(before);
            return Err(error);
        }
        let length = u32::try_from(self.bytes.len() - from).unwrap_or(u32::MAX).to_be_bytes();
        for (byte, of_length) in self.bytes.iter_mut().skip(from - length.len()).zip(length) {
            *byte = of_length;
        }
        self.count += 1;
        Ok(())
    }

    /// How many bytes there are, with subjects and names.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl FromIterator<Attachment> for Attachments {
    fn from_iter<I: IntoIterator<Item = Attachment>>(all: I) -> Attachments {
        let mut attachments = Attachments::default();
        for one in all {
            let _never: Result<(), std::convert::Infallible> = attachments.add(&one.subject, &one.name, |bytes| {
                bytes.extend(&one.sealed);
                Ok(())
            });
        }
        attachments
    }
}

/// Encrypted disclosures, and state that becomes durable with the entry, in the bytes in which a batch holds them. One piece, made by whoever drafts the
/// entry: it waits for the archive and is freed by another thread then, which costs the allocator more than the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside(Box<[u8]>);

impl Default for Beside {
    fn default() -> Beside {
        Beside::new(&Attachments::default(), &[])
    }
}

impl Beside {
    /// The bytes of `attachments` and `state`.
    pub fn new(attachments: &Attachments, state: &[StatePut]) -> Beside {
        let puts = state.iter().map(|put| 9 + put.key.len() + put.value.as_ref().map_or(0, Vec::len));
        let mut bytes = Vec::with_capacity(8 + attachments.len() + puts.sum::<usize>());
        put_count(&mut bytes, attachments.count);
        bytes.extend_from_slice(&attachments.bytes);
        put_count(&mut bytes, state.len());
        for state in state {
            put(&mut bytes, &state.key);
            match &state.value {
                None => bytes.push(0),
                Some(value) => {
                    bytes.push(1);
                    put(&mut bytes, value);
                }
            }
        }
        Beside(bytes.into_boxed_slice())
    }

    /// The disclosures.
    pub fn attachments(&self) -> Vec<Attachment> {
        attachments(&mut Reader(&self.0)).unwrap_or_default()
    }

    /// What is put into the state.
    pub fn state(&self) -> Vec<StatePut> {
        let mut reader = Reader(&self.0);
        skip_attachments(&mut reader).and_then(|()| state(&mut reader)).unwrap_or_default()
    }

    /// How many bytes there are.
    #[cfg(feature = "store")]
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The bytes.
    pub(super) const fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads what stands beside the next entry; `None` when the bytes are anything else.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Beside> {
        let from = reader.0;
        attachments(reader)?;
        state(reader)?;
        from.get(..from.len() - reader.0.len()).map(|bytes| Beside(bytes.into()))
    }

    /// Steps over it without reading.
    #[cfg(feature = "store")]
    pub(super) fn skip(reader: &mut Reader<'_>) -> Option<()> {
        skip_attachments(reader)?;
        reader.each(|reader| {
            reader.bytes()?;
            if *reader.chunk::<1>()? == [1] { reader.bytes().map(drop) } else { Some(()) }
        })
    }
}

fn attachments(reader: &mut Reader<'_>) -> Option<Vec<Attachment>> {
    reader.list(|reader| {
        Some(Attachment { subject: reader.text()?, name: reader.text()?, sealed: reader.bytes()?.to_vec() })
    })
}

fn skip_attachments(reader: &mut Reader<'_>) -> Option<()> {
    reader.each(|reader| reader.bytes().and(reader.bytes()).and(reader.bytes()).map(drop))
}

fn state(reader: &mut Reader<'_>) -> Option<Vec<StatePut>> {
    reader.list(|reader| {
        let key = reader.bytes()?.to_vec();
        let value = match reader.chunk()? {
            [0] => None,
            [1] => Some(reader.bytes()?.to_vec()),
            _ => return None,
        };
        Some(StatePut { key, value })
    })
}
