use std::fs;

use super::*;

const ID: Uuid = Uuid::from_u128(1);

fn host(env: &Env, folder: &Path) -> SimulatedVolumes {
    SimulatedVolumes::new(env, 100).kept_in(folder).unwrap()
}

fn spec(generation: u64) -> FileSpec {
    FileSpec { id: ID, generation, size_gib: 1, format: DiskFormat::Raw }
}

async fn is_there(host: &SimulatedVolumes) -> bool {
    host.find(ID, DiskFormat::Raw).await.unwrap().is_some()
}

#[tokio::test]
async fn another_life_finds_the_files_and_refuses_older_generations() {
    let (folder, env) = (tempfile::tempdir().unwrap(), Env::real());
    host(&env, folder.path()).create(&spec(2)).await.unwrap();
    let next = host(&env, folder.path());
    assert!(is_there(&next).await);
    assert_eq!(next.delete(ID, 1).await, Err(DriverError::Stale));
    next.delete(ID, 3).await.unwrap();
    let last = host(&env, folder.path());
    assert!(!is_there(&last).await);
    assert_eq!(last.create(&spec(2)).await, Err(DriverError::Stale));
}

#[tokio::test]
async fn what_could_not_be_kept_nobody_sees() {
    let (folder, env) = (tempfile::tempdir().unwrap(), Env::real());
    let path = folder.path().join("volumes");
    let shaky = host(&env, &path);
    fs::remove_dir_all(&path).unwrap();
    assert!(matches!(shaky.create(&spec(1)).await, Err(DriverError::Failed(_))));
    assert!(!is_there(&shaky).await);
    fs::create_dir_all(path.join(GENERATIONS)).unwrap();
    shaky.create(&spec(1)).await.unwrap();
    fs::remove_dir_all(&path).unwrap();
    shaky.delete(ID, 2).await.unwrap_err();
    assert!(is_there(&shaky).await);
}

#[tokio::test]
async fn a_host_that_loses_its_files_has_lost_them_on_its_disk_too() {
    struct Loses;
    impl Faults for Loses {
        fn decide(&self, operation: &Operation) -> Option<Fault> {
            (operation.verb == Verb::Find).then_some(Fault::LosesState)
        }
    }
    let (folder, env) = (tempfile::tempdir().unwrap(), Env::real());
    let losing = host(&env, folder.path()).with_faults(Arc::new(Loses));
    losing.create(&spec(1)).await.unwrap();
    assert!(!is_there(&losing).await);
    assert!(!is_there(&host(&env, folder.path())).await);
}
