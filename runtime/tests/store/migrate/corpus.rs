//! The stores in `former/`.

use std::path::{Path, PathBuf};

use updraft_runtime::{
    Env,
    store::{Store, limits::FORMAT_VERSION},
};

use super::shop;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/former")
}

/// The stores of one kind; there is one for each format.
pub(super) fn files(kind: &str) -> Vec<PathBuf> {
    let formats = 1..=FORMAT_VERSION;
    let files: Vec<_> = formats.map(|format| folder().join(format!("{format}.{kind}"))).collect();
    for file in &files {
        assert!(file.exists(), "{} is missing: UPDRAFT_TEST_RECORD=1 writes it", file.display());
    }
    files
}

/// Where the store of the present format is to be written, if it is.
fn to_record(kind: &str) -> Option<PathBuf> {
    let file = folder().join(format!("{FORMAT_VERSION}.{kind}"));
    (std::env::var_os("UPDRAFT_TEST_RECORD").is_some() && !file.exists()).then_some(file)
}

#[tokio::test]
async fn a_file_of_this_format_is_recorded() {
    let Some(file) = to_record("redb") else { return };
    let store = Store::redb(Env::real(), &file).await.unwrap();
    shop::furnish_as_then(&store, shop::FEW).await;
    store.close().await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_this_format_is_recorded() {
    let Some(file) = to_record("sql") else { return };
    let Some(database) = crate::postgres::server::Database::fresh().await else { return };
    shop::furnish_as_then(&database.store().await, shop::FEW).await;
    std::fs::write(&file, database.dump()).unwrap();
}
