//! A server that speaks TLS has to prove its name.

use std::{fs, path::Path, process::Command, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use updraft_runtime::{
    Env,
    store::{OpenError, PostgresSettings, Store},
};

use super::server::Server;
use crate::support::put;

/// Writes a key and a certificate for `name` where the server finds them; returns the authority's certificate.
fn certify(directory: &Path, name: &str) -> String {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new([name.to_owned()]).unwrap();
    let own = own.signed_by(&key, &authority).unwrap();
    fs::write(directory.join("server.crt"), own.pem()).unwrap();
    let key_file = directory.join("server.key");
    fs::write(&key_file, key.serialize_pem()).unwrap();
    for change in [["chmod", "0600"], ["chown", "--reference=PG_VERSION"]] {
        let [program, how] = change;
        let done = Command::new(program).arg(how).arg(&key_file).current_dir(directory).status();
        assert!(done.unwrap().success());
    }
    authority.pem()
}

/// A server with a certificate for `name`, and what opening a store in it says.
async fn open(name: &str, trusting: bool) -> Option<Result<Store, OpenError>> {
    let port = {
        // Free a moment ago, which is as good as it gets.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let mut authority = String::new();
    let port_setting = format!("port={port}");
    let settings = [&*port_setting, "listen_addresses=localhost", "ssl=on"];
    let server = Server::start_with(&settings, |data| authority = certify(data, name))?;
    let server = Arc::new(server.on_port(port));
    let database = server.database().await;
    let more = format!("port={port} sslmode=require");
    let mut settings = PostgresSettings::parse(&database.text_at("localhost", &more)).unwrap();
    if trusting {
        settings = settings.authorities(authority.as_bytes()).unwrap();
    }
    let opened = Store::postgres(Env::real(), settings).await;
    if opened.is_ok() {
        let asked = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
            WHERE application_name = 'updraft' AND NOT ssl";
        let plain: i64 = database.admin().await.query_one(asked, &[]).await.unwrap().get(0);
        assert_eq!(plain, 0, "a connection is not inside TLS");
    }
    if let Ok(store) = &opened {
        put(store, "t/a", "1").await;
    }
    Some(opened)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_trusted_certificate_is_used() {
    if let Some(opened) = open("localhost", true).await {
        opened.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_nobody_vouches_for_is_refused() {
    if let Some(opened) = open("localhost", false).await {
        let refused = opened.unwrap_err().to_string();
        assert!(refused.contains("UnknownIssuer"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_another_name_is_refused() {
    if let Some(opened) = open("other.example", true).await {
        let refused = opened.unwrap_err().to_string();
        assert!(refused.contains("not valid for"), "{refused}");
    }
}
