//! The screen of a simulated guest: RFB 3.8 (RFC 6143), no more of it than a viewer needs.
//!
//! Owns the few pixels that a simulated guest has: a colour of its name's, which every key that is pressed changes, so
//! that a viewer sees that it was heard.

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use updraft_protocol::hypervisor::Answer;

use super::png;

/// The screen's size in pixels.
pub(super) const WIDTH: u16 = 64;
/// See [`WIDTH`].
pub(super) const HEIGHT: u16 = 48;

/// What a viewer and its screen say first.
const VERSION: &[u8; 12] = b"RFB 003.008\n";
/// The security type "none".
const NO_SECURITY: u8 = 1;
/// Bytes of a pixel: blue, green, red, and one that is not used.
const PIXEL_BYTES: usize = 4;
/// 32 bits a pixel of 24 that count, little-endian true colour; red is shifted by 16, green by 8, blue by none.
const PIXEL_FORMAT: [u8; 16] = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];

/// What a viewer says.
const SET_PIXEL_FORMAT: u8 = 0;
const SET_ENCODINGS: u8 = 2;
const UPDATE_REQUEST: u8 = 3;
const KEY: u8 = 4;
const POINTER: u8 = 5;
const CUT_TEXT: u8 = 6;

/// Most text that a viewer may paste.
const CUT_TEXT_MAX_BYTES: u32 = 1 << 20;

/// Shows the screen of a guest of this name until the viewer goes.
pub(super) async fn serve(
    mut viewer: impl AsyncRead + AsyncWrite + Unpin,
    name: &str,
) -> io::Result<()> {
    greet(&mut viewer, name).await?;
    let mut screen = Screen { colour: colour_of(name), shown: false, asked: false };
    loop {
        screen.hear(&mut viewer).await?;
        if screen.asked && !screen.shown {
            viewer.write_all(&update(screen.colour)).await?;
            (screen.asked, screen.shown) = (false, true);
        }
    }
}

/// A picture of the screen of a guest of this name, as nobody has typed to it.
pub(super) fn picture(name: &str) -> Answer {
    let row = colour_of(name).repeat(WIDTH.into());
    Answer::Picture(STANDARD.encode(png::encode(WIDTH, HEIGHT, &row.repeat(HEIGHT.into()))))
}

/// The colour of a guest that nobody has typed to: red, green, blue.
pub(super) fn colour_of(name: &str) -> [u8; 3] {
    let digest = Sha256::digest(name.as_bytes());
    [digest[0], digest[1], digest[2]]
}

async fn greet(viewer: &mut (impl AsyncRead + AsyncWrite + Unpin), name: &str) -> io::Result<()> {
    viewer.write_all(VERSION).await?;
    let mut version = [0; VERSION.len()];
    viewer.read_exact(&mut version).await?;
    viewer.write_all(&[1, NO_SECURITY]).await?;
    if viewer.read_u8().await? != NO_SECURITY {
        return Err(io::Error::other("the viewer wants a security that is not there"));
    }
    viewer.write_u32(0).await?;
    // Whether the viewer shares the screen with others: it may.
    viewer.read_u8().await?;
    let mut hello = Vec::new();
    hello.extend(WIDTH.to_be_bytes());
    hello.extend(HEIGHT.to_be_bytes());
    hello.extend(PIXEL_FORMAT);
    hello.extend(u32::try_from(name.len()).unwrap_or_default().to_be_bytes());
    hello.extend(name.as_bytes());
    viewer.write_all(&hello).await
}

struct Screen {
    colour: [u8; 3],
    /// Whether the viewer has seen the colour.
    shown: bool,
    /// Whether the viewer waits for an update.
    asked: bool,
}

impl Screen {
    /// Takes one message of the viewer's.
    async fn hear(&mut self, viewer: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        match viewer.read_u8().await? {
            SET_PIXEL_FORMAT => {
                let mut asked = [0; 19];
                viewer.read_exact(&mut asked).await?;
                if asked[3] != PIXEL_FORMAT[0] {
                    return Err(io::Error::other("the viewer wants other pixels"));
                }
            }
            SET_ENCODINGS => {
                viewer.read_u8().await?;
                let encodings = viewer.read_u16().await?;
                skip(viewer, 4 * u64::from(encodings)).await?;
            }
            UPDATE_REQUEST => {
                let incremental = viewer.read_u8().await? != 0;
                skip(viewer, 8).await?;
                self.asked = true;
                self.shown &= incremental;
            }
            KEY => {
                let pressed = viewer.read_u8().await? != 0;
                skip(viewer, 6).await?;
                if pressed {
                    self.colour = self.colour.map(|part| part.wrapping_add(64));
                    self.shown = false;
                }
            }
            POINTER => skip(viewer, 5).await?,
            CUT_TEXT => {
                skip(viewer, 3).await?;
                let length = viewer.read_u32().await?.min(CUT_TEXT_MAX_BYTES);
                skip(viewer, length.into()).await?;
            }
            other => return Err(io::Error::other(format!("the viewer says {other}"))),
        }
        Ok(())
    }
}

async fn skip(viewer: &mut (impl AsyncRead + Unpin), bytes: u64) -> io::Result<()> {
    tokio::io::copy(&mut viewer.take(bytes), &mut tokio::io::sink()).await.map(drop)
}

/// The whole screen as one rectangle of raw pixels.
fn update([red, green, blue]: [u8; 3]) -> Vec<u8> {
    let pixels = usize::from(WIDTH) * usize::from(HEIGHT);
    let mut update = vec![0, 0, 0, 1, 0, 0, 0, 0];
    update.extend(WIDTH.to_be_bytes());
    update.extend(HEIGHT.to_be_bytes());
    update.extend([0; 4]);
    update.extend([blue, green, red, 0].repeat(pixels));
    debug_assert_eq!(update.len(), 16 + pixels * PIXEL_BYTES);
    update
}
