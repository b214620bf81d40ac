//! Certificates in PEM files, for both sides of TLS.

use data_encoding::BASE64;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// The certificates of a file, at least one; and the same as text. A private key that stands in the same file is in neither.
pub(crate) fn chain(bytes: &[u8]) -> Result<(String, Vec<CertificateDer<'static>>), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let chain = chain.map_err(|error| error.to_string())?;
    if chain.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok((chain.iter().map(text).collect(), chain))
}

/// The private key of a file.
pub(crate) fn key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| error.to_string())
}

fn text(certificate: &CertificateDer<'_>) -> String {
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in BASE64.encode(certificate).as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_file_has_its_certificates_and_never_its_key() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (pem, secret) = (made.cert.pem(), made.signing_key.serialize_pem());
        let (text, chain) = chain(format!("{secret}\n# a comment\n{pem}").as_bytes()).unwrap();
        assert_eq!((text.replace("\r\n", "\n"), chain.len()), (pem.replace("\r\n", "\n"), 1));
        assert!(super::chain(secret.as_bytes()).is_err());
        assert!(key(secret.as_bytes()).is_ok() && key(pem.as_bytes()).is_err());
    }
}
