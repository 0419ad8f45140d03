//! The host's certificate where QEMU looks for it: what serves volumes to other hosts, and guests that reach those of
//! others, speak TLS with the certificates by which hosts know each other anyway.
//!
//! Owns a folder of files with the names that QEMU asks for. They are closed to everybody but their owner, and are written
//! anew when the certificate is; whoever is connected stays so.

use std::path::PathBuf;

use updraft_transport::{certificate::Certificate, tls::Credentials};

use super::{data_dir::DataDir, link::Failure};

/// Where they are, below the folder of libvirtd, whose configuration names it.
const FOLDER: &str = "libvirt/tls";

/// Writes the files, and says where they are.
pub(super) fn keep(data: &DataDir, credentials: &Credentials) -> Result<PathBuf, Failure> {
    let authorities: String = credentials.authorities().iter().map(Certificate::to_pem).collect();
    let (certificate, key) = (credentials.certificate().to_pem(), credentials.key().to_pem());
    let folder = data.folder(FOLDER)?;
    data.write(&format!("{FOLDER}/ca-cert.pem"), &authorities)?;
    for side in ["server", "client"] {
        data.write(&format!("{FOLDER}/{side}-cert.pem"), &certificate)?;
        data.write(&format!("{FOLDER}/{side}-key.pem"), &key)?;
    }
    Ok(folder)
}
