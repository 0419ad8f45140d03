//! What a cloud begins with on this machine, and the file by which clients find it.

use updraft_identity::{BootstrapConfig, catalog_at};

use super::{config::Settings, data_dir::DataDir, estate::Passwords, link::Failure};

/// Who starts the cloud.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning {
    /// Whether it is a further control node: what the cloud has is not its own to change.
    pub(super) further: bool,
    /// Whether no other control node has ever served the cloud.
    pub(super) alone: bool,
}

/// What the cloud begins with. `own` is where the APIs answer here.
pub(super) fn bootstrap(
    data: &DataDir,
    settings: &Settings,
    passwords: &Passwords,
    own: &str,
    beginning: Beginning,
) -> Result<BootstrapConfig, Failure> {
    let named = settings.api_url.named();
    let base = named.unwrap_or(own);
    let region = settings.region.as_str();
    data.write("clouds.yaml", &clouds_yaml(&passwords.admin, region, base))?;
    Ok(BootstrapConfig {
        admin_password: passwords.admin.to_string(),
        service_password: Some(passwords.service.to_string()),
        region: region.to_owned(),
        catalog: catalog_at(base),
        keeps_passwords: beginning.further,
        keeps_addresses: named.is_none() && (beginning.further || !beginning.alone),
    })
}

/// What the `openstack` client reads, with the cloud named `updraft`.
fn clouds_yaml(password: &str, region: &str, base: &str) -> String {
    // In YAML, as in SQL, a quote within quotes is doubled.
    let password = format!("'{}'", password.replace('\'', "''"));
    format!(
        "clouds:\n  updraft:\n    auth:\n      auth_url: {base}/identity/v3\n      username: admin\n      \
         password: {password}\n      project_name: admin\n      user_domain_name: Default\n      \
         project_domain_name: Default\n    region_name: {region}\n    identity_api_version: 3\n"
    )
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::machine::config::ApiUrl;

    const OWN: &str = "http://127.0.0.1:8774";

    fn begun(api_url: &str, further: bool, alone: bool) -> (BootstrapConfig, String) {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let api_url = ApiUrl::try_from(api_url.to_owned()).unwrap();
        let settings = Settings { api_url, ..Settings::default() };
        let secret = |text: &str| Zeroizing::new(text.to_owned());
        let passwords = Passwords { admin: secret("a"), service: secret("s") };
        let beginning = Beginning { further, alone };
        let config = bootstrap(&data, &settings, &passwords, OWN, beginning).unwrap();
        (config, data.read("clouds.yaml").unwrap().unwrap().to_string())
    }

    #[test]
    fn a_password_of_any_letters_is_one_value_for_the_client() {
        let text = clouds_yaml("it's: #1", "RegionOne", "http://127.0.0.1:1");
        assert!(text.contains("\n      password: 'it''s: #1'\n"), "{text}");
    }

    #[test]
    fn the_catalog_says_what_was_set_and_else_where_the_first_control_node_answers() {
        let (config, clouds) = begun("", false, true);
        assert!(config.catalog[0].public_url.starts_with(OWN) && clouds.contains(OWN));
        assert!(!config.keeps_addresses);
        for (further, alone) in [(true, true), (true, false), (false, false)] {
            assert!(begun("", further, alone).0.keeps_addresses, "{further} {alone}");
        }
        let (config, clouds) = begun("https://cloud.example:8774", true, false);
        assert!(config.catalog[0].public_url.starts_with("https://cloud.example:8774/"));
        assert!(clouds.contains("auth_url: https://cloud.example:8774/identity/v3\n"), "{clouds}");
        assert!(!config.keeps_addresses);
    }

    #[test]
    fn a_further_control_node_sets_no_password() {
        assert!(!begun("", false, false).0.keeps_passwords);
        assert!(begun("", true, false).0.keeps_passwords);
    }
}
