//! Moves bytes between a tunnel and what is talked to at this end.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

use super::{Reader, Tunnel, TunnelError, Writer};

/// Bytes that are read at once: a screen's update in few pieces, and little enough for many tunnels.
const READ_BYTES: usize = 32 * 1024;

/// Moves bytes both ways until either side ends, and then ends the other.
pub async fn relay(
    tunnel: Tunnel,
    end: impl AsyncRead + AsyncWrite + Send,
) -> Result<(), TunnelError> {
    let (from, to) = split(end);
    let Tunnel { reader, writer } = tunnel;
    tokio::select! {
        biased;
        ended = outwards(from, writer) => ended,
        ended = inwards(reader, to) => ended,
    }
}

async fn outwards(mut from: impl AsyncRead + Unpin, mut to: Writer) -> Result<(), TunnelError> {
    let mut room = BytesMut::with_capacity(READ_BYTES);
    loop {
        room.reserve(READ_BYTES);
        match from.read_buf(&mut room).await {
            Ok(0) => return to.finish().await,
            Ok(_) => to.send(room.split().freeze()).await?,
            Err(error) => return to.fail(error.to_string()).await,
        }
    }
}

async fn inwards(mut from: Reader, mut to: impl AsyncWrite + Unpin) -> Result<(), TunnelError> {
    let broken = |error: std::io::Error| TunnelError::Broken(error.to_string());
    while let Some(bytes) = from.next().await? {
        to.write_all(&bytes).await.map_err(broken)?;
        to.flush().await.map_err(broken)?;
    }
    Ok(())
}
