//! On this machine: files, real UDP on loopback, real time.

use std::{io::Write, path::PathBuf};

use serde::{Deserialize, Serialize};
use updraft_harness::world::World;
use updraft_runtime::{
    bulk::{Digest, FileSink, FileSource},
    message, protocol,
    rpc::{Rpc, Service},
};

use super::*;
use crate::library::{cx, id};

/// What keepers of files understand.
struct Files;
protocol!(Files = "files");

/// "Give me the file that is named so."
#[derive(Serialize, Deserialize)]
struct Get {
    path: PathBuf,
    digest: Digest,
}
message!(body Get = Files / "get", from ["compute"], to ["control"]);

fn service(rpc: &Rpc) -> Service {
    let env = rpc.env().clone();
    let files = Service::of::<Files>().body(rpc, move |_, Get { path, digest }| {
        let env = env.clone();
        async move { FileSource::open(&env, &path, digest).await }
    });
    files.into()
}

#[test]
fn a_file_of_256_mib_comes_over_loopback_and_goes_on_after_its_receiver_has_restarted() {
    let folder = tempfile::tempdir().unwrap();
    let (source, part, path) =
        (folder.path().join("source"), folder.path().join("part"), folder.path().join("whole"));
    let mut file = std::fs::File::create(&source).unwrap();
    (0..256).for_each(|seed| file.write_all(&content(seed, 1 << 20)).unwrap());
    let mut world = World::on_tier(1, Tier::Real);
    let one = world.node("bulk-one", &["control"], |context| {
        context.serve(&["bulk-one"], |node| vec![node.directory().service(), service(&node.rpc())])
    });
    let reader =
        world.node("bulk-reader", &["compute"], |context| context.serve(&["bulk-one"], |_| vec![]));
    let known = |world: &mut World| {
        let rpc: Option<Rpc> = world.handle(&id("bulk-reader"));
        rpc.is_some_and(|rpc| !rpc.directory().servers_of::<Get>().is_empty())
    };
    let rpc = |world: &World| world.handle::<Rpc>(&id("bulk-reader")).unwrap();
    assert!(world.run_until(LIMIT, known));
    let (env, at) = (rpc(&world).env().clone(), source.clone());
    let digest = async move { FileSource::digest_of(&env, &at, Algorithm::Sha512).await };
    let digest = world.on(&reader, LIMIT, digest).unwrap().unwrap();
    let fetch = |world: &World| {
        let (rpc, files) = (rpc(world), rpc(world).client::<Files>().on(&one));
        let (part, path, get) = (part.clone(), path.clone(), Get { path: source.clone(), digest });
        async move {
            let mut sink = FileSink::new(rpc.env(), part, path);
            let fetch = files.fetch(get, &cx());
            let progress = fetch.progress();
            let came = fetch.into(&mut sink).await.unwrap();
            let fetched = progress.borrow().fetched_bytes;
            (came, fetched)
        }
    };
    drop(world.begin(&reader, fetch(&world)).unwrap());
    let length = || std::fs::metadata(&part).map_or(0, |about| about.len());
    assert!(world.run_until(LIMIT, |_| length() > 16 << 20));
    world.crash(&reader);
    let kept = length();
    assert!(kept < 256 << 20, "it was there before it could be broken off");
    world.start(&reader);
    assert!(world.run_until(LIMIT, known));
    let (came, fetched) = world.on(&reader, LIMIT, fetch(&world)).unwrap();
    assert_eq!((came, fetched), (digest, (256 << 20) - kept));
    assert!(std::fs::read(&path).unwrap() == std::fs::read(&source).unwrap(), "other bytes");
    assert!(!part.exists());
}
