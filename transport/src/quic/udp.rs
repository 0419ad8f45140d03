//! Real sockets on the tokio runtime that calls.

use std::{io, net::SocketAddr, sync::Arc};

use quinn::{AsyncUdpSocket, Runtime, TokioRuntime};
use socket2::{Domain, Protocol, Socket, Type};

/// What the kernel is asked to buffer each way, in bytes: some 20 ms of a 3 Gbit/s link. It may give
/// less; then bursts lose datagrams, which costs time and nothing else.
const KERNEL_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// A UDP socket bound to this address, and the runtime whose timers go with it. Call it on the runtime
/// that shall carry the network.
pub fn bind(address: SocketAddr) -> io::Result<(Arc<dyn AsyncUdpSocket>, Arc<dyn Runtime>)> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    for asked in [
        socket.set_recv_buffer_size(KERNEL_BUFFER_BYTES),
        socket.set_send_buffer_size(KERNEL_BUFFER_BYTES),
    ] {
        if let Err(error) = asked {
            tracing::debug!(%error, "the kernel keeps its usual buffers");
        }
    }
    socket.bind(&address.into())?;
    let runtime = TokioRuntime;
    let socket = runtime.wrap_udp_socket(socket.into())?;
    Ok((socket, Arc::new(runtime)))
}
