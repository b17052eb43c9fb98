//! An authority that signs certificates.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyUsagePurpose, NameConstraints, SanType,
};

use super::certificate::{Certificate, Name, Purpose};
use super::key::Key;

/// A certificate is valid a little before it is made: the clock of whoever checks it may be behind.
const BEHIND: SignedDuration = SignedDuration::from_hours(1);

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// Characters of a common name at most (RFC 5280, `ub-common-name`).
const LONGEST_NAME: usize = 64;

/// A certificate and its key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: Key,
}

/// A certificate to be.
#[derive(Clone, Copy, Debug)]
pub struct Leaf<'a> {
    /// The common name of its subject.
    pub common_name: &'a str,
    /// The names that it is for.
    pub names: &'a [Name],
    /// What it may be shown for.
    pub purposes: &'a [Purpose],
    /// How long it is valid.
    pub days: u32,
}

/// An authority: whoever trusts its certificate takes what it has signed for genuine.
#[derive(Debug)]
pub struct Authority(Identity);

impl Authority {
    /// A new one. With `limits`, no certificate of its is accepted for any other name; a host's
    /// name stands for those below it, too.
    pub fn create(name: &str, days: u32, limits: Option<&[Name]>) -> Result<Authority> {
        let key = Key::generate()?;
        let mut params = params(name, days)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = limits.map(constraints);
        let made = params.self_signed(key.pair()).context("signing it")?;
        let certificate = Certificate::from_der(made.der().to_vec())?;
        Ok(Authority(Identity { certificate, key }))
    }

    /// One that was made before. Fails where the key is another's.
    pub fn new(certificate: Certificate, key: Key) -> Result<Authority> {
        ensure!(
            certificate.belongs_to(&key),
            "the certificate and the key do not belong together"
        );
        Ok(Authority(Identity { certificate, key }))
    }

    /// Its own certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }

    /// Its key: whoever has it can make any certificate in its name.
    pub fn key(&self) -> &Key {
        &self.0.key
    }

    /// Makes a key and signs a certificate for it.
    pub fn issue(&self, leaf: &Leaf<'_>) -> Result<Identity> {
        let Identity { certificate, key } = &self.0;
        let issuer = Issuer::from_ca_cert_der(&certificate.der().into(), key.pair())
            .context("reading the authority's certificate")?;
        let mut params = params(leaf.common_name, leaf.days)?;
        for name in leaf.names {
            params.subject_alt_names.push(match name {
                Name::Dns(name) => {
                    let text = name.as_str().try_into();
                    SanType::DnsName(text.with_context(|| format!("{name:?} is not a name"))?)
                }
                Name::Ip(address) => SanType::IpAddress(*address),
            });
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let purposes = leaf.purposes.iter().map(|purpose| match purpose {
            Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
        });
        params.extended_key_usages = purposes.collect();
        // Python from 3.13 on wants it (ssl.VERIFY_X509_STRICT).
        params.use_authority_key_identifier_extension = true;
        let key = Key::generate()?;
        let made = params
            .signed_by(key.pair(), &issuer)
            .context("signing it")?;
        let certificate = Certificate::from_der(made.der().to_vec())?;
        Ok(Identity { certificate, key })
    }
}

fn params(name: &str, days: u32) -> Result<CertificateParams> {
    ensure!(
        (1..=LONGEST_NAME).contains(&name.chars().count()),
        "{name:?} does not have 1 to {LONGEST_NAME} characters"
    );
    let begin = Timestamp::now() - BEHIND;
    let seconds =
        u64::try_from(begin.as_second()).context("this machine's clock is before 1970")?;
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    params.not_after = params.not_before + Duration::from_secs(DAY * u64::from(days));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

/// Nothing but these names. A kind of name of which none is permitted has to be excluded: without
/// a word on it, all of that kind are permitted (RFC 5280, "Name Constraints").
fn constraints(names: &[Name]) -> NameConstraints {
    let permitted: Vec<GeneralSubtree> = names.iter().map(subtree).collect();
    let has = |test: fn(&Name) -> bool| names.iter().any(test);
    let mut excluded = Vec::new();
    if !has(|name| matches!(name, Name::Dns(_))) {
        excluded.push(GeneralSubtree::DnsName(String::new()));
    }
    if !has(|name| matches!(name, Name::Ip(_))) {
        let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        excluded
            .extend(all.map(|any| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(any, 0))));
    }
    NameConstraints {
        permitted_subtrees: permitted,
        excluded_subtrees: excluded,
    }
}

fn subtree(name: &Name) -> GeneralSubtree {
    match name {
        Name::Dns(name) => GeneralSubtree::DnsName(name.clone()),
        Name::Ip(address) => {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, bits))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    const NAMES: [&str; 3] = ["server.example.org", "192.0.2.1", "2001:db8::1"];

    fn issue(authority: &Authority, names: &[Name], days: u32) -> Identity {
        let leaf = Leaf {
            common_name: "gpu1",
            names,
            purposes: &[Purpose::Server, Purpose::Client],
            days,
        };
        authority.issue(&leaf).unwrap()
    }

    fn in_days(days: i64) -> Timestamp {
        Timestamp::now() + SignedDuration::from_hours(24 * days)
    }

    #[test]
    fn what_is_issued_says_what_was_asked_for_and_is_its_keys() {
        let authority = Authority::create("Test", 7300, None).unwrap();
        let names = NAMES.map(Name::from);
        let made = issue(&authority, &names, 398);
        let read = Certificate::from_pem(&made.certificate.pem()).unwrap();
        assert_eq!(read.der(), made.certificate.der());
        assert_eq!(read.common_name, "gpu1");
        assert_eq!(read.names, names);
        assert_eq!(read.purposes, [Purpose::Server, Purpose::Client]);
        let days = read.end.duration_since(read.begin).as_hours() / 24;
        assert_eq!(days, 398);
        assert!(read.belongs_to(&made.key));
        assert!(!read.belongs_to(authority.key()));
        let other = issue(&authority, &names, 398);
        assert_ne!(other.certificate.fingerprint(), read.fingerprint());
        assert_eq!(read.fingerprint().len(), 64);
    }

    #[test]
    fn only_what_the_authority_has_signed_is_accepted_and_only_while_it_is_valid() {
        let authority = Authority::create("Test", 100, None).unwrap();
        let made = issue(&authority, &[], 30).certificate;
        made.check(authority.certificate(), Timestamp::now())
            .unwrap();
        let refused = |by: &Certificate, when| made.check(by, when).unwrap_err().to_string();

        // Another one of the same name.
        let other = Authority::create("Test", 100, None).unwrap();
        let said = refused(other.certificate(), Timestamp::now());
        assert!(said.contains("was not signed by"), "{said}");
        let said = refused(&made, Timestamp::now());
        assert!(said.contains("not an authority's"), "{said}");
        let own = authority.certificate();
        assert!(refused(own, in_days(31)).contains("has expired"));
        assert!(refused(own, in_days(-1)).contains("is valid from"));
        assert!(refused(own, in_days(-1)).contains("this machine's clock"));
        let long = issue(&authority, &[], 300).certificate;
        let said = long.check(own, in_days(101)).unwrap_err().to_string();
        assert!(said.contains("\"Test\" has expired"), "{said}");
    }

    #[test]
    fn an_authority_is_read_again_with_its_own_key_alone() {
        let authority = Authority::create("Test", 100, None).unwrap();
        let certificate = Certificate::from_pem(&authority.certificate().pem()).unwrap();
        let key = Key::from_pem(&authority.key().pem()).unwrap();
        let again = Authority::new(certificate.clone(), key).unwrap();
        let made = issue(&again, &[], 30).certificate;
        made.check(authority.certificate(), Timestamp::now())
            .unwrap();
        Authority::new(certificate, Key::generate().unwrap()).unwrap_err();
    }

    #[test]
    fn a_text_is_known_by_its_signature() {
        let authority = Authority::create("Test", 100, None).unwrap();
        let signature = authority.key().sign(b"numpy==2.4.6").unwrap();
        let has_signed =
            |text: &[u8], signature: &[u8]| authority.certificate().has_signed(text, signature);
        assert!(has_signed(b"numpy==2.4.6", &signature));
        assert!(!has_signed(b"numpy==2.4.7", &signature));
        assert!(!has_signed(b"numpy==2.4.6", b""));
        let other = Key::generate().unwrap().sign(b"numpy==2.4.6").unwrap();
        assert!(!has_signed(b"numpy==2.4.6", &other));
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        for text in [
            "",
            "x",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            Certificate::from_pem(text).unwrap_err();
        }
        let key = Key::generate().unwrap().pem();
        let said = Certificate::from_pem(&key).unwrap_err().to_string();
        assert_eq!(said, "there is no certificate in it");
        let authority = Authority::create("Test", 100, None).unwrap();
        let mut der = authority.certificate().der().to_vec();
        der.push(0);
        Certificate::from_der(der).unwrap_err();
        Authority::create("", 1, None).unwrap_err();
        Authority::create(&"a".repeat(LONGEST_NAME + 1), 1, None).unwrap_err();
    }

    #[test]
    fn an_authority_knows_its_limits_and_a_certificate_whom_it_is_for() {
        let limits = NAMES.map(Name::from);
        let limited = Authority::create("Test", 100, Some(&limits)).unwrap();
        let free = Authority::create("Test", 100, None).unwrap();
        let numbered = Authority::create("Test", 100, Some(&limits[1..])).unwrap();
        for (name, by_limited, by_numbered) in [
            ("server.example.org", true, false),
            ("a.server.example.org", true, false),
            ("other-server.example.org", false, false),
            ("example.org", false, false),
            ("192.0.2.1", true, true),
            ("192.0.2.2", false, false),
            ("2001:db8::1", true, true),
        ] {
            let name = Name::from(name);
            assert_eq!(limited.certificate().permits(&name), by_limited, "{name}");
            assert_eq!(numbered.certificate().permits(&name), by_numbered, "{name}");
            assert!(free.certificate().permits(&name));
        }
        let names = ["*.example.org", "192.0.2.1"].map(Name::from);
        let made = issue(&free, &names, 30).certificate;
        for (name, expected) in [
            ("server.example.org", true),
            ("Server.Example.ORG", true),
            ("a.server.example.org", false),
            ("example.org", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
        ] {
            assert_eq!(made.is_for(&Name::from(name)), expected, "{name}");
        }
        assert!(made.is_signed_by(free.certificate()));
        assert!(!made.is_signed_by(limited.certificate()));
        let both = made.pem() + &free.key().pem() + &free.certificate().pem();
        let all = Certificate::all_from_pem(&both).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].der(), free.certificate().der());
        Certificate::all_from_pem(&free.key().pem()).unwrap_err();
    }

    /// What openssl(1) says of a certificate that this authority has signed for these names.
    fn openssl(authority: &Authority, names: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let names: Vec<Name> = names.iter().map(|name| Name::from(*name)).collect();
        let made = issue(authority, &names, 30);
        fs::write(path("ca"), authority.certificate().pem()).unwrap();
        fs::write(path("leaf"), made.certificate.pem()).unwrap();
        let output = Command::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile"])
            .args([path("ca"), path("leaf")])
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    #[test]
    fn openssl_accepts_what_is_issued_and_only_for_names_within_the_limits() {
        let free = Authority::create("Test", 100, None).unwrap();
        assert!(openssl(&free, &NAMES).ends_with(": OK\n"));

        let limits = NAMES.map(Name::from);
        let limited = Authority::create("Test", 100, Some(&limits)).unwrap();
        assert!(openssl(&limited, &NAMES).ends_with(": OK\n"));
        let named = [Name::from("server.example.org")];
        let named = Authority::create("Test", 100, Some(&named)).unwrap();
        let numbered = [Name::from("192.0.2.1")];
        let numbered = Authority::create("Test", 100, Some(&numbered)).unwrap();
        assert!(openssl(&named, &["server.example.org"]).ends_with(": OK\n"));
        assert!(openssl(&numbered, &["192.0.2.1"]).ends_with(": OK\n"));
        for (authority, name) in [
            (&limited, "other.example.org"),
            (&limited, "192.0.2.2"),
            (&limited, "2001:db8::2"),
            (&named, "192.0.2.1"),
            (&named, "2001:db8::1"),
            (&numbered, "server.example.org"),
        ] {
            let said = openssl(authority, &[name]);
            assert!(said.contains("subtree violation"), "{name}: {said}");
        }
    }
}
