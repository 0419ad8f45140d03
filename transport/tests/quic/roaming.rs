//! A node whose address changes, as a NAT or a new lease makes it, while it is connected.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use updraft_transport::Transport;

use crate::cloud::{LOCALHOST, Plan, id};

/// Larger than any datagram.
const DATAGRAM_MAX: usize = 65_536;

/// Stands between a node that dials and the one that is dialled, which sees the dialler at the NAT's address.
struct Nat {
    inside: SocketAddr,
    /// Towards the one that is dialled.
    outside: Arc<Mutex<UdpSocket>>,
    passed: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
}

impl Nat {
    fn before(server: SocketAddr) -> Self {
        let inside = UdpSocket::bind(LOCALHOST).unwrap();
        let outside = Arc::new(Mutex::new(towards(server)));
        let (passed, ends) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let nat = Self {
            inside: inside.local_addr().unwrap(),
            outside: Arc::clone(&outside),
            passed: Arc::clone(&passed),
            ends: Arc::clone(&ends),
        };
        inside.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        std::thread::spawn(move || {
            let (mut buffer, mut client) = (vec![0; DATAGRAM_MAX], None);
            while !ends.load(Ordering::Relaxed) {
                let outside = outside.lock().unwrap();
                if let Ok((bytes, from)) = inside.recv_from(&mut buffer) {
                    client = Some(from);
                    let _ = outside.send(&buffer[..bytes]);
                    passed.fetch_add(1, Ordering::Relaxed);
                }
                while let (Ok(bytes), Some(client)) = (outside.recv(&mut buffer), client) {
                    let _ = inside.send_to(&buffer[..bytes], client);
                }
            }
        });
        nat
    }

    /// Forgets the way out and finds another: the dialler is seen at another address from now on.
    fn forget(&self, server: SocketAddr) -> (SocketAddr, SocketAddr) {
        let mut outside = self.outside.lock().unwrap();
        let former = outside.local_addr().unwrap();
        *outside = towards(server);
        (former, outside.local_addr().unwrap())
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

fn towards(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(LOCALHOST).unwrap();
    socket.connect(server).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

#[test]
fn a_node_that_is_seen_at_another_address_keeps_its_connection() {
    let (mut a, mut b) = (Plan::new("a").start(), Plan::new("b").start());
    let nat = Nat::before(b.address);
    a.link.learn(&id("b"), nat.inside);
    a.send("b", 0);
    assert_eq!(a.heard(), "up b 1");
    assert_eq!(b.heard(), "up a 1");
    assert_eq!(b.heard(), "0 from a");

    for round in 1..4 {
        let (former, present) = nat.forget(b.address);
        assert_ne!(former, present);
        for number in 0..50 {
            a.send("b", round * 100 + number);
            assert_eq!(b.heard(), format!("{} from a", round * 100 + number));
            b.send("a", round * 100 + number);
            assert_eq!(a.heard(), format!("{} from b", round * 100 + number));
        }
    }
    assert!(a.is_quiet() && b.is_quiet(), "nobody was down");
    assert_eq!((a.link.counts().opened, b.link.counts().opened), (1, 1));
    assert!(nat.passed.load(Ordering::Relaxed) > 150, "they did not talk through the NAT");
}
