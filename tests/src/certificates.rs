//! Certificates of authorities of the tests' own, in files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Datelike, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};

/// An authority that vouches for whoever the tests want.
#[derive(Debug)]
pub struct Authority {
    /// Its own certificate, as PEM.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The certificate.
    pub pem: String,
    /// The key.
    pub key: String,
}

impl Authority {
    /// A new authority, which nobody trusts yet.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let name = format!("authority {}", uuid::Uuid::new_v4());
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// Vouches for a server on this machine.
    pub fn server(&self) -> Certified {
        self.certify("identity", &["127.0.0.1".to_owned()], None)
    }

    /// Vouches for a client with this common name, DNS name and URI.
    pub fn client(&self, common: &str, dns: &str, uri: &str) -> Certified {
        self.certify(common, &[dns.to_owned()], Some(uri))
    }

    fn certify(&self, common: &str, names: &[String], uri: Option<&str>) -> Certified {
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common);
        let uri = uri.map(|uri| SanType::URI(uri.try_into().unwrap()));
        params.subject_alt_names.extend(uri);
        let key = KeyPair::generate().unwrap();
        Certified {
            pem: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Certified {
    /// One for a server on this machine, by nobody's authority, that is good until the day of this moment begins.
    pub fn good_until(moment: DateTime<Utc>) -> Self {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let (month, day) = (moment.month() as u8, moment.day() as u8);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(moment.year(), month, day);
        let key = KeyPair::generate().unwrap();
        Self {
            pem: params.self_signed(&key).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// Writes `<name>.crt` and `<name>.key`, the key first.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let paths = [
            folder.join(format!("{name}.crt")),
            folder.join(format!("{name}.key")),
        ];
        fs::write(&paths[1], &self.key).unwrap();
        fs::write(&paths[0], &self.pem).unwrap();
        let [certificate, key] = paths;
        (certificate, key)
    }
}
