//! A disk that another host serves: under TLS, with certificates as the cloud's CA issues them.

use std::{
    fs,
    sync::PoisonError,
    time::{Duration, SystemTime},
};

use updraft_protocol::{
    hypervisor::{Answer, Disk, Op, PowerState},
    volume::Export,
};
use updraft_runtime::transport::{
    NodeId, PeerIdentity,
    ca::{CloudCa, Validity},
    key::NodeKey,
};

use crate::{ALONE, at, boot, until_said, volume, world::World};

const PORT: u16 = 10_810;
const NAME: &str = "attachment-1";

/// Gives the other host its certificate, and this one its own where libvirtd looks for it.
fn certify(world: &World) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let validity = Validity::starting(now - 60, Duration::from_secs(3_600));
    let ca = CloudCa::create("test", NodeKey::from_seed(&[1; 32]).unwrap(), validity).unwrap();
    let (server, client) = (world.folder().join("server"), world.folder().join("libvirt/tls"));
    for (seed, node, side, folder) in
        [(2, "host-a", "server", &server), (3, "host-b", "client", &client)]
    {
        let key = NodeKey::from_seed(&[seed; 32]).unwrap();
        let identity = PeerIdentity::new(NodeId::new(node).unwrap(), &["compute"]);
        let certificate = ca.issue(&identity, &key.public(), validity).unwrap();
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("ca-cert.pem"), ca.certificate().to_pem()).unwrap();
        fs::write(folder.join(format!("{side}-cert.pem")), certificate.to_pem()).unwrap();
        fs::write(folder.join(format!("{side}-key.pem")), key.to_pem().as_bytes()).unwrap();
    }
}

/// What serves the disk; gone when the test is, however it ends.
struct Server<'a>(&'a World);

impl Server<'_> {
    fn process(&self) -> Option<String> {
        let process = fs::read_to_string(self.0.folder().join("server/pid")).ok()?;
        Some(process.trim().to_owned())
    }

    fn kill(&self) {
        self.0.run("kill", &["-9", &self.process().unwrap()]);
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let is_ours = |process: &String| {
            let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(self.0.folder().to_str().unwrap())
        };
        if let Some(process) = self.process().filter(is_ours) {
            self.0.run("kill", &["-9", &process]);
        }
    }
}

fn serve<'a>(world: &'a World, file: &Disk) -> Server<'a> {
    let folder = world.folder().join("server");
    let options = [
        ("--object", "authz-simple,id=client,identity=CN=host-b".to_owned()),
        (
            "--object",
            format!(
                "tls-creds-x509,id=tls,endpoint=server,dir={},verify-peer=yes",
                folder.display()
            ),
        ),
        ("--blockdev", format!("driver=file,node-name=file,filename={}", file.path.display())),
        ("--blockdev", "driver=qcow2,node-name=disk,file=file".to_owned()),
        (
            "--nbd-server",
            format!(
                "addr.type=inet,addr.host=127.0.0.1,addr.port={PORT},tls-creds=tls,tls-authz=client"
            ),
        ),
        ("--export", format!("type=nbd,id=export,node-name=disk,name={NAME},writable=on")),
        ("--pidfile", folder.join("pid").display().to_string()),
    ];
    let mut arguments = vec!["--daemonize"];
    arguments.extend(options.iter().flat_map(|(option, value)| [*option, value.as_str()]));
    world.run_inside("qemu-storage-daemon", &arguments);
    Server(world)
}

#[test]
fn a_disk_of_another_host_is_lost_with_its_server_and_mended_by_plugging_it_in_again() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(world) = World::new("remote") else { return };
    certify(&world);
    let disk = Disk {
        remote: Some(Export {
            address: "127.0.0.1".to_owned(),
            port: PORT,
            name: NAME.to_owned(),
            tls: Some("host-a".to_owned()),
        }),
        ..volume(&world, "volume-1")
    };
    let mut child = world.driver("qemu");
    child.until_available();
    boot(&world, &mut child, 1);
    until_said(&mut child, "UPDRAFT-START", 1);

    world.step("it is not plugged in while nobody serves it");
    child.ask(Op::AttachDisk { guest: at(2), disk: disk.clone() }).unwrap_err();

    world.step("it is plugged in, and the guest sees it");
    let server = serve(&world, &disk);
    let attached = child.ask(Op::AttachDisk { guest: at(3), disk: disk.clone() });
    let Ok(Answer::Guest(report)) = attached else { panic!("{attached:?}") };
    assert_eq!(report.disks, ["volume-1"]);
    until_said(&mut child, "UPDRAFT-DISK vda serial=volume-1 bytes=33554432\r", 1);

    world.step("its server is killed: the guest runs on, and lets go of it");
    server.kill();
    drop(server);
    let detached = child.ask(Op::DetachDisk { guest: at(4), serial: "volume-1".into() });
    let Ok(Answer::Guest(report)) = detached else { panic!("{detached:?}") };
    assert_eq!((report.power, report.disks.len()), (PowerState::Running, 0));
    until_said(&mut child, "UPDRAFT-DISK-GONE vda\r", 1);

    world.step("it is served again and plugged in again");
    let server = serve(&world, &disk);
    child.ask(Op::AttachDisk { guest: at(5), disk }).unwrap();
    until_said(&mut child, "UPDRAFT-DISK vda serial=volume-1 bytes=33554432\r", 2);
    child.ask(Op::Remove(at(6))).unwrap();
    child.end();
    drop(server);
    world.end();
}
