//! The gateway's signing key in a hardware module, through PKCS#11. The module does what signs; its secret half never leaves it.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, anyhow, bail};
use countersign_ledger::checkpoint::{KeyElsewhere, NotSigned};
use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::{
        Mechanism,
        eddsa::{EddsaParams, EddsaSignatureScheme},
    },
    object::{Attribute, AttributeType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use ed25519_dalek::VerifyingKey;
use parking_lot::Mutex;

/// Where a key is.
pub struct Place {
    /// The module: a shared library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The key's label.
    pub key: String,
    /// The user's PIN.
    pub pin: AuthPin,
}

/// A key in a module.
pub struct HsmKey {
    place: Place,
    module: Pkcs11,
    public: VerifyingKey,
    session: Mutex<Option<(Session, ObjectHandle)>>,
}

impl HsmKey {
    /// Finds the key and logs in.
    pub fn open(place: Place) -> anyhow::Result<Arc<HsmKey>> {
        let what = || format!("`[ledger.hsm]`: `{}`", place.module.display());
        let module = Pkcs11::new(&place.module).with_context(what)?;
        initialize(&module).with_context(what)?;
        let (session, key) = connect(&module, &place).with_context(what)?;
        let public = public(&session, &place).with_context(what)?;
        Ok(Arc::new(HsmKey { place, module, public, session: Mutex::new(Some((session, key))) }))
    }
}

impl KeyElsewhere for HsmKey {
    fn verifying_key(&self) -> VerifyingKey {
        self.public
    }

    /// A session that broke is closed, and one is begun anew: at once, and each time that the ledger tries again. Where there is none to be had, the module is
    /// begun anew first: some never see a token again that was gone.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], NotSigned> {
        let mut held = self.session.lock();
        if let Some((session, key)) = held.take() {
            match signed(&session, key, message) {
                Ok(signature) => {
                    *held = Some((session, key));
                    return Ok(signature);
                }
                Err(error) => {
                    tracing::warn!("the hardware module did not sign: {error:#}; its session is begun anew");
                }
            }
        }
        let mut signing = self.anew(message);
        if let Err(error) = &signing
            && !is_final(error)
        {
            // INVARIANT: no session is open, and nobody else in this process uses the module.
            let _ = self.module.clone().finalize();
            signing = initialize(&self.module).and_then(|()| self.anew(message));
        }
        let (signature, begun) =
            signing.map_err(|error| NotSigned { what: format!("{error:#}"), is_final: is_final(&error) })?;
        *held = Some(begun);
        Ok(signature)
    }
}

impl HsmKey {
    /// Signs in a session of its own.
    fn anew(&self, message: &[u8]) -> anyhow::Result<([u8; 64], (Session, ObjectHandle))> {
        let (session, key) = connect(&self.module, &self.place)?;
        Ok((signed(&session, key, message)?, (session, key)))
    }
}

fn initialize(module: &Pkcs11) -> anyhow::Result<()> {
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn signed(session: &Session, key: ObjectHandle, message: &[u8]) -> anyhow::Result<[u8; 64]> {
    let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519));
    let signature = session.sign(&mechanism, key, message)?;
    signature.try_into().map_err(|_| anyhow!("the module's signature has not 64 bytes"))
}

/// A PIN that was refused is not tried again: a few such tries lock the token.
fn is_final(error: &anyhow::Error) -> bool {
    let of_pin = |error: &Error| {
        use RvError::{PinExpired, PinIncorrect, PinInvalid, PinLenRange, PinLocked};
        matches!(error, Error::Pkcs11(PinExpired | PinIncorrect | PinInvalid | PinLenRange | PinLocked, _))
    };
    error.chain().filter_map(|cause| cause.downcast_ref()).any(of_pin)
}

/// A session that is logged in, and the key in it.
fn connect(module: &Pkcs11, place: &Place) -> anyhow::Result<(Session, ObjectHandle)> {
    let session = module.open_ro_session(slot(module, place)?)?;
    match session.login(UserType::User, Some(&place.pin)) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
        Err(error) => return Err(error).with_context(|| format!("token `{}`: the login failed", place.token)),
    }
    let key = find(&session, place, ObjectClass::PRIVATE_KEY)?;
    Ok((session, key))
}

fn slot(module: &Pkcs11, place: &Place) -> anyhow::Result<Slot> {
    let mut found = Vec::new();
    for slot in module.get_slots_with_token()? {
        // Labels are padded with spaces.
        if module.get_token_info(slot)?.label().trim_end() == place.token {
            found.push(slot);
        }
    }
    match found.as_slice() {
        [slot] => Ok(*slot),
        [] => bail!("there is no token labelled `{}`", place.token),
        _ => bail!("there are several tokens labelled `{}`", place.token),
    }
}

fn find(session: &Session, place: &Place, class: ObjectClass) -> anyhow::Result<ObjectHandle> {
    let wanted = [Attribute::Class(class), Attribute::Label(place.key.as_bytes().to_vec())];
    match session.find_objects(&wanted)?.as_slice() {
        [key] => Ok(*key),
        [] => bail!("token `{}` has no {class} labelled `{}`", place.token, place.key),
        _ => bail!("token `{}` has several objects of class {class} labelled `{}`", place.token, place.key),
    }
}

/// The public half: the point of Ed25519, in an octet string (PKCS#11 §6.3.5) or as it is.
fn public(session: &Session, place: &Place) -> anyhow::Result<VerifyingKey> {
    let key = find(session, place, ObjectClass::PUBLIC_KEY)?;
    let attributes = session.get_attributes(key, &[AttributeType::EcPoint])?;
    let point = attributes.into_iter().find_map(|attribute| match attribute {
        Attribute::EcPoint(point) => Some(point),
        _ => None,
    });
    let point = point.context("the public key has no point")?;
    let raw = match point.as_slice() {
        [0x04, 32, raw @ ..] if raw.len() == 32 => raw,
        raw => raw,
    };
    let raw: [u8; 32] =
        raw.try_into().map_err(|_| anyhow!("the key `{}` is none of Ed25519 (edwards25519)", place.key))?;
    VerifyingKey::from_bytes(&raw).map_err(|_| anyhow!("the key `{}` is no point of Ed25519", place.key))
}
