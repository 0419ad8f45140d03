use std::{fs, path::PathBuf};

use updraft_protocol::hypervisor::Boot;

use super::*;

const GUEST: Uuid = Uuid::from_u128(1);
const SOON: Duration = Duration::from_secs(1);

fn machine(env: &Env, folder: &Path) -> SimulatedHypervisor {
    let host = SimulatedHost::new(4, 1_024, 10).kept_in(env, folder).unwrap();
    SimulatedHypervisor::new(env.clone(), host, Arc::new(NoFaults))
}

fn at(generation: u64) -> GuestRef {
    GuestRef { guest: GUEST, generation }
}

fn define(generation: u64) -> Op {
    Op::Define(Box::new(GuestSpec {
        guest: at(generation),
        name: "instance-1".to_owned(),
        title: "one".to_owned(),
        vcpus: 1,
        memory_mib: 64,
        boot: Boot::Disk,
        disks: Vec::new(),
        interfaces: Vec::new(),
        console_log: PathBuf::from("/console"),
    }))
}

#[tokio::test]
async fn another_life_finds_the_guests_and_refuses_older_generations() {
    let (folder, env) = (tempfile::tempdir().unwrap(), Env::real());
    let first = machine(&env, folder.path());
    for op in [define(2), Op::Start(at(2))] {
        first.perform(op, SOON).await.unwrap();
    }
    let next = machine(&env, folder.path());
    let guests = next.host.guests();
    assert_eq!((guests[0].guest, guests[0].power), (at(2), PowerState::Running));
    let stale = next.perform(Op::Remove(at(1)), SOON).await;
    assert_eq!(stale, Err(DriverError::Stale { asked: 1, served: 2 }));
    next.perform(Op::Remove(at(3)), SOON).await.unwrap();
    let last = machine(&env, folder.path());
    assert!(last.host.guests().is_empty());
    assert!(last.perform(define(2), SOON).await.is_err());
}

#[tokio::test]
async fn what_could_not_be_kept_nobody_sees() {
    let (folder, env) = (tempfile::tempdir().unwrap(), Env::real());
    let path = folder.path().join("guests");
    let shaky = machine(&env, &path);
    fs::remove_dir_all(&path).unwrap();
    assert!(matches!(shaky.perform(define(1), SOON).await, Err(DriverError::Failed(_))));
    assert!(shaky.host.guests().is_empty() && shaky.host.served().is_empty());
}

#[tokio::test]
async fn a_machine_that_goes_on_has_its_guests_as_they_run_and_those_of_the_disk_alone() {
    let (folder, env) = (tempfile::tempdir().unwrap(), Env::real());
    let first = machine(&env, folder.path());
    for op in [define(1), Op::Start(at(1))] {
        first.perform(op, SOON).await.unwrap();
    }
    first.host.guest_dies(GUEST);
    let same = first.host.clone().kept_in(&env, folder.path()).unwrap();
    assert_eq!(same.guests()[0].power, PowerState::Shutdown, "nobody has told the disk");
    fs::remove_file(folder.path().join(format!("{GUEST}.json"))).unwrap();
    let same = same.kept_in(&env, folder.path()).unwrap();
    assert!(same.guests().is_empty() && same.served().is_empty());
}
