//! The gateway's signing key in a hardware module, through PKCS#11. The module does what signs; its secret half never leaves it.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, anyhow, bail};
use countersign_ledger::checkpoint::KeyElsewhere;
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
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(error).with_context(what),
        }
        let (session, key) = connect(&module, &place).with_context(what)?;
        let public = public(&session, &place).with_context(what)?;
        Ok(Arc::new(HsmKey { place, module, public, session: Mutex::new(Some((session, key))) }))
    }
}

impl KeyElsewhere for HsmKey {
    fn verifying_key(&self) -> VerifyingKey {
        self.public
    }

    /// A session that broke is begun anew, once: a module that was restarted is no reason to stop.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let mut held = self.session.lock();
        for again in [true, false] {
            let (session, key) = match held.take() {
                Some(held) => held,
                None => connect(&self.module, &self.place).map_err(|error| format!("{error:#}"))?,
            };
            let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519));
            match session.sign(&mechanism, key, message) {
                Ok(signature) => {
                    *held = Some((session, key));
                    return signature.try_into().map_err(|_| "the module's signature has not 64 bytes".to_owned());
                }
                Err(error) if again => {
                    tracing::warn!(%error, "the hardware module did not sign; its session is begun anew")
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("the module did not sign".to_owned())
    }
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
