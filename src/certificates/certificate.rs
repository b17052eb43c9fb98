//! What a certificate says.

use std::fmt;
use std::net::IpAddr;

use anyhow::{Context, Result, anyhow, bail, ensure};
use jiff::Timestamp;
use pem::Pem;
use x509_parser::asn1_rs::BitString;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::verify::verify_signature;

use super::key::Key;
use crate::system::digest;

/// The label of a certificate in PEM (RFC 7468).
const LABEL: &str = "CERTIFICATE";

/// A name that a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A host's.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl From<&str> for Name {
    fn from(text: &str) -> Name {
        match text.parse() {
            Ok(address) => Name::Ip(address),
            Err(_) => Name::Dns(text.into()),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Dns(name) => f.write_str(name),
            Name::Ip(address) => address.fmt(f),
        }
    }
}

/// What a certificate may be shown for (RFC 5280, "Extended Key Usage").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To those who connect.
    Server,
    /// To those whom its owner connects to.
    Client,
}

/// A certificate, read. Who made it is not known: see [`Certificate::check`].
#[derive(Clone, Debug)]
pub struct Certificate {
    der: Vec<u8>,
    /// The common name of its subject; empty where it has none.
    pub common_name: String,
    /// The names that it is for.
    pub names: Vec<Name>,
    /// What it may be shown for; empty where it does not say.
    pub purposes: Vec<Purpose>,
    /// From when on it is valid.
    pub begin: Timestamp,
    /// Until when.
    pub end: Timestamp,
}

impl Certificate {
    /// The first certificate of a text in PEM.
    pub fn from_pem(text: &str) -> Result<Certificate> {
        let blocks = pem::parse_many(text).map_err(|_| anyhow!("it is not in PEM"))?;
        let found = blocks.into_iter().find(|block| block.tag() == LABEL);
        let block = found.context("there is no certificate in it")?;
        Certificate::from_der(block.into_contents())
    }

    /// Every certificate of a text in PEM, in its order; there is at least one.
    pub fn all_from_pem(text: &str) -> Result<Vec<Certificate>> {
        let blocks = pem::parse_many(text).map_err(|_| anyhow!("it is not in PEM"))?;
        let found = blocks.into_iter().filter(|block| block.tag() == LABEL);
        let all: Vec<Certificate> = found
            .map(|block| Certificate::from_der(block.into_contents()))
            .collect::<Result<_>>()?;
        ensure!(!all.is_empty(), "there is no certificate in it");
        Ok(all)
    }

    /// A certificate in DER.
    pub fn from_der(der: Vec<u8>) -> Result<Certificate> {
        let certificate = parse(&der)?;
        let time = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).context("its validity is out of range")
        };
        let validity = certificate.validity();
        let (begin, end) = (time(validity.not_before)?, time(validity.not_after)?);
        let (names, purposes) = (names(&certificate)?, purposes(&certificate)?);
        let common_name = common_name(&certificate);
        drop(certificate);
        Ok(Certificate {
            common_name,
            names,
            purposes,
            begin,
            end,
            der,
        })
    }

    /// In PEM.
    pub fn pem(&self) -> String {
        pem::encode_config(
            &Pem::new(LABEL, self.der.as_slice()),
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        )
    }

    /// In DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The SHA-256 of its DER in hexadecimal digits, as openssl(1) and browsers show it.
    pub fn fingerprint(&self) -> String {
        digest::of(&self.der)
    }

    /// Whether it is the key's.
    pub fn belongs_to(&self, key: &Key) -> bool {
        parse(&self.der).is_ok_and(|own| own.public_key().raw == key.public())
    }

    /// Whether the authority that this certificate is of has signed a text: with the algorithm with
    /// which it has signed its own certificate.
    pub fn has_signed(&self, text: &[u8], signature: &[u8]) -> bool {
        let signature = BitString::new(0, signature);
        parse(&self.der).is_ok_and(|own| {
            let algorithm = &own.signature_algorithm;
            verify_signature(own.public_key(), algorithm, &signature, text).is_ok()
        })
    }

    /// Whether it is for this name; `*` stands for the first part of a host's (RFC 6125, 6.4.3).
    pub fn is_for(&self, name: &Name) -> bool {
        self.names.iter().any(|own| match (own, name) {
            (Name::Dns(own), Name::Dns(name)) => match own.strip_prefix("*.") {
                Some(below) => {
                    let rest = name.split_once('.').map(|(_, rest)| rest);
                    rest.is_some_and(|rest| rest.eq_ignore_ascii_case(below))
                }
                None => own.eq_ignore_ascii_case(name),
            },
            _ => own == name,
        })
    }

    /// Whether what it signs, as an authority's, is accepted for this name (RFC 5280, "Name
    /// Constraints"). Of a kind that is excluded as a whole, none is permitted.
    pub fn permits(&self, name: &Name) -> bool {
        let Ok(own) = parse(&self.der) else {
            return false;
        };
        match own.name_constraints() {
            Ok(None) => true,
            Ok(Some(limits)) => {
                let permitted = limits.value.permitted_subtrees.iter().flatten();
                permitted
                    .into_iter()
                    .any(|subtree| is_in(name, &subtree.base))
            }
            Err(_) => false,
        }
    }

    /// Whether the authority has signed it.
    pub fn is_signed_by(&self, authority: &Certificate) -> bool {
        let (Ok(own), Ok(above)) = (parse(&self.der), parse(&authority.der)) else {
            return false;
        };
        own.issuer().as_raw() == above.subject().as_raw()
            && own.verify_signature(Some(above.public_key())).is_ok()
    }

    /// Fails where the authority has not signed it, or where it is not valid `now`.
    pub fn check(&self, authority: &Certificate, now: Timestamp) -> Result<()> {
        if !parse(&authority.der)?.is_ca() {
            bail!("{} is not an authority's", authority.quoted());
        }
        if !self.is_signed_by(authority) {
            bail!("{} was not signed by {}", self.quoted(), authority.quoted());
        }
        for certificate in [self, authority] {
            if now < certificate.begin {
                bail!(
                    "{} is valid from {} on, and it is {now:.0} by this machine's clock",
                    certificate.quoted(),
                    certificate.begin
                );
            }
            if certificate.end < now {
                bail!(
                    "{} has expired at {}",
                    certificate.quoted(),
                    certificate.end
                );
            }
        }
        Ok(())
    }

    /// For a sentence. Others may have chosen the name.
    fn quoted(&self) -> String {
        format!("the certificate of {:?}", self.common_name)
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => bail!("it is not a certificate"),
    }
}

fn common_name(certificate: &X509Certificate<'_>) -> String {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next().and_then(|name| name.as_str().ok());
    name.unwrap_or_default().into()
}

fn names(certificate: &X509Certificate<'_>) -> Result<Vec<Name>> {
    let extension = certificate
        .subject_alternative_name()
        .map_err(|_| anyhow!("its names can't be read"))?;
    let names = extension.map_or(&[][..], |extension| &extension.value.general_names);
    let read = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(Name::Dns((*name).into())),
        GeneralName::IPAddress(bytes) => address(bytes).map(Name::Ip),
        _ => None,
    };
    Ok(names.iter().filter_map(read).collect())
}

/// Whether a name is the one of a subtree, or below it. Addresses stand for themselves there, each
/// with a mask.
fn is_in(name: &Name, subtree: &GeneralName<'_>) -> bool {
    match (name, subtree) {
        (Name::Dns(name), GeneralName::DNSName(top)) => {
            let above = name.strip_suffix(top);
            above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        }
        (Name::Ip(own), GeneralName::IPAddress(bytes)) => {
            address(&bytes[..bytes.len() / 2]) == Some(*own)
        }
        _ => false,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

fn purposes(certificate: &X509Certificate<'_>) -> Result<Vec<Purpose>> {
    let extension = certificate
        .extended_key_usage()
        .map_err(|_| anyhow!("its purposes can't be read"))?;
    let Some(extension) = extension else {
        return Ok(Vec::new());
    };
    let all = [
        (extension.value.server_auth, Purpose::Server),
        (extension.value.client_auth, Purpose::Client),
    ];
    let named = all.into_iter().filter(|(named, _)| *named);
    Ok(named.map(|(_, purpose)| purpose).collect())
}
