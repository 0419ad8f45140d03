//! What every control node of a cloud keeps in its folder, so that none is special: the CA and two passwords.
//!
//! Owns `ca/`, `admin-password` and `service-password`, and the bytes in which a control node hands them to one that
//! joins, over the connection of the join and nowhere else. They are in no store, so that neither a backup nor whoever
//! reads the database can make certificates.

use serde::{Deserialize, Serialize};
use updraft_runtime::Env;
use updraft_transport::{ca::CloudCa, certificate::Certificate, join::Entrusted, key::NodeKey};
use zeroize::{Zeroize, Zeroizing};

use super::{
    data_dir::{DataDir, DataDirError},
    link::{self, Failure},
};

/// Where the administrator's password is.
const ADMIN_PASSWORD: &str = "admin-password";

/// Where the password of the services' users is.
const SERVICE_PASSWORD: &str = "service-password";

/// Passwords of the cloud's own users.
pub(super) struct Passwords {
    pub(super) admin: Zeroizing<String>,
    pub(super) service: Zeroizing<String>,
}

/// The passwords of this folder, drawn once and kept.
pub(super) fn passwords(env: &Env, data: &DataDir) -> Result<Passwords, DataDirError> {
    let draw = || env.uuid().simple().to_string();
    let kept = |name| -> Result<_, DataDirError> {
        // Whoever writes one with an editor ends its line.
        Ok(Zeroizing::new(data.keep(name, draw)?.trim().to_owned()))
    };
    Ok(Passwords { admin: kept(ADMIN_PASSWORD)?, service: kept(SERVICE_PASSWORD)? })
}

/// What goes from one control node to the next.
#[derive(Serialize, Deserialize)]
struct Handed {
    ca_key: String,
    admin_password: String,
    service_password: String,
}

impl Drop for Handed {
    fn drop(&mut self) {
        self.ca_key.zeroize();
        self.admin_password.zeroize();
        self.service_password.zeroize();
    }
}

/// What a further control node is entrusted with.
pub(super) fn hand_over(ca: &CloudCa, passwords: &Passwords) -> Result<Entrusted, Failure> {
    let handed = Handed {
        ca_key: ca.key().to_pem().to_string(),
        admin_password: passwords.admin.to_string(),
        service_password: passwords.service.to_string(),
    };
    Ok(Entrusted::new(serde_json::to_vec(&handed)?))
}

/// Keeps what this machine was entrusted with, and the certificate of the CA whose key is among it.
pub(super) fn take_over(
    data: &DataDir,
    entrusted: &Entrusted,
    authority: &Certificate,
) -> Result<(), Failure> {
    let unread = |_| "the control node's answer makes no sense: it does not entrust this machine with what it needs";
    let handed: Handed = serde_json::from_slice(entrusted.bytes()).map_err(unread)?;
    // Looked at before anything is kept.
    CloudCa::load(authority.clone(), NodeKey::from_pem(&handed.ca_key)?)?;
    data.write(ADMIN_PASSWORD, &handed.admin_password)?;
    data.write(SERVICE_PASSWORD, &handed.service_password)?;
    link::keep_ca(data, authority, &handed.ca_key)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder() -> (tempfile::TempDir, DataDir) {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        (folder, data)
    }

    #[tokio::test]
    async fn passwords_are_drawn_once_and_closed_to_others() {
        let (_folder, data) = folder();
        let begin = || passwords(&Env::real(), &data).unwrap();
        let (first, again) = (begin(), begin());
        assert_eq!(first.service.len(), 32);
        assert_ne!(first.service, first.admin);
        assert_eq!((&again.service, &again.admin), (&first.service, &first.admin));
        for (name, holds) in [(ADMIN_PASSWORD, &first.admin), (SERVICE_PASSWORD, &first.service)] {
            assert_eq!(data.read(name).unwrap().unwrap().as_str(), holds.as_str());
            let mode = std::fs::metadata(data.path(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[tokio::test]
    async fn what_one_control_node_hands_over_makes_another_its_equal() {
        let ((_first, one), (_second, other)) = (folder(), folder());
        let env = Env::real();
        let ca = link::ca(&env, &one).unwrap();
        let known = passwords(&env, &one).unwrap();
        take_over(&other, &hand_over(&ca, &known).unwrap(), ca.certificate()).unwrap();
        assert_eq!(link::ca(&env, &other).unwrap().certificate(), ca.certificate());
        let had = passwords(&env, &other).unwrap();
        assert_eq!((had.admin, had.service), (known.admin, known.service));
        let mode = std::fs::metadata(other.path("ca/key.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_key_of_another_authority_is_not_kept() {
        let ((_first, one), (_second, other), (_third, new)) = (folder(), folder(), folder());
        let env = Env::real();
        let (ca, foreign) = (link::ca(&env, &one).unwrap(), link::ca(&env, &other).unwrap());
        let handed = hand_over(&foreign, &passwords(&env, &one).unwrap()).unwrap();
        assert!(take_over(&new, &handed, ca.certificate()).is_err());
        assert!(!new.path("ca").exists() && !new.path(ADMIN_PASSWORD).exists());
    }
}
